//! As much of an API server as the program asks for, and as much of an operator as answers it.

use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Bytes,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};

const COMMAND: &str = "release.orlop.dev/command";

/// What happens to an object from elsewhere.
pub(crate) type Change = Box<dyn FnOnce(&mut Value) + Send>;

/// What becomes of a command.
pub(crate) enum Operator {
    Does,
    Refuses(&'static str),
    IsAway,
}

pub(crate) struct World {
    /// By plural and name.
    objects: BTreeMap<(String, String), Value>,
    pub(crate) operator: Operator,
    /// Happens to an object when it is first written: that write comes too late.
    pub(crate) meanwhile: Option<Change>,
    /// Happens to an object after it was read so often.
    pub(crate) after_reads: Option<(usize, Change)>,
    writes: usize,
}

impl World {
    pub(crate) fn new(objects: impl IntoIterator<Item = Value>) -> Self {
        let objects = objects.into_iter().map(|mut object| {
            object["metadata"]["resourceVersion"] = "1".into();
            let kind = object["kind"].as_str().unwrap().to_lowercase();
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            ((format!("{kind}s"), name), object)
        });
        Self {
            objects: objects.collect(),
            operator: Operator::Does,
            meanwhile: None,
            after_reads: None,
            writes: 0,
        }
    }

    fn answer(&mut self, method: &Method, uri: &Uri, body: &[u8]) -> (StatusCode, Value) {
        let path: Vec<_> = uri.path().trim_matches('/').split('/').collect();
        // /apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL[/NAME]
        match (method.as_str(), &path[..]) {
            ("GET", [_, _, _, _, "lantern", plural]) => (StatusCode::OK, self.list(plural, uri)),
            ("GET", [_, _, _, _, "lantern", plural, name]) => self.read(plural, name),
            ("PATCH", [_, _, _, _, "lantern", plural, name]) => {
                let key = ((*plural).to_owned(), (*name).to_owned());
                self.patch(&key, uri, &serde_json::from_slice(body).unwrap_or_default())
            }
            _ => refused(StatusCode::NOT_FOUND, "NotFound"),
        }
    }

    fn list(&self, plural: &str, uri: &Uri) -> Value {
        let query = uri.query().unwrap_or_default().as_bytes();
        let query: HashMap<_, _> = form_urlencoded::parse(query).into_owned().collect();
        let selector = query.get("labelSelector").cloned().unwrap_or_default();
        let fits = |object: &Value| {
            let mut terms = selector.split(',').filter(|term| !term.is_empty());
            terms.all(|term| {
                let (label, value) = term.split_once('=').unwrap();
                object["metadata"]["labels"][label] == value
            })
        };
        let objects = self.objects.iter().filter(|((of, _), _)| of == plural);
        let items: Vec<_> = objects
            .map(|(_, object)| object)
            .filter(|it| fits(it))
            .collect();
        json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items})
    }

    fn read(&mut self, plural: &str, name: &str) -> (StatusCode, Value) {
        let Some(object) = self.objects.get_mut(&(plural.to_owned(), name.to_owned())) else {
            return refused(StatusCode::NOT_FOUND, "NotFound");
        };
        match self.after_reads.take() {
            Some((0, change)) => change(object),
            Some((reads, change)) => self.after_reads = Some((reads - 1, change)),
            None => {}
        }
        (StatusCode::OK, object.clone())
    }

    fn patch(&mut self, key: &(String, String), uri: &Uri, patch: &Value) -> (StatusCode, Value) {
        let Some(object) = self.objects.get_mut(key) else {
            return refused(StatusCode::NOT_FOUND, "NotFound");
        };
        if let Some(change) = self.meanwhile.take() {
            change(object);
            object["metadata"]["resourceVersion"] = "2".into();
        }
        let condition = &patch["metadata"]["resourceVersion"];
        if !condition.is_null() && *condition != object["metadata"]["resourceVersion"] {
            return refused(StatusCode::CONFLICT, "Conflict");
        }
        self.writes += 1;
        assert!(
            uri.query()
                .unwrap_or_default()
                .contains("fieldManager=orlop-cli")
        );
        let command = &patch["metadata"]["annotations"][COMMAND];
        if let Some(text) = command.as_str() {
            object["metadata"]["annotations"][COMMAND] = text.into();
            let (outcome, message) = match self.operator {
                Operator::Does => ("Done", format!("did {text}")),
                Operator::Refuses(why) => ("Refused", why.to_owned()),
                Operator::IsAway => return (StatusCode::OK, object.clone()),
            };
            object["status"]["command"] = json!({
                "command": text, "outcome": outcome, "message": message,
                "at": "2026-01-01T00:00:00Z",
            });
        }
        (StatusCode::OK, object.clone())
    }
}

fn refused(code: StatusCode, reason: &str) -> (StatusCode, Value) {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "reason": reason, "message": reason, "code": code.as_u16(),
    });
    (code, status)
}

/// A server with a kubeconfig that leads to it, both gone when the test ends.
pub(crate) struct ApiServer {
    world: Arc<Mutex<World>>,
    kubeconfig: PathBuf,
    _runtime: Runtime,
}

impl ApiServer {
    pub(crate) fn start(world: World) -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let world = Arc::new(Mutex::new(world));
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&world);
        let answer = move |method: Method, uri: Uri, body: Bytes| async move {
            let (code, value) = shared.lock().unwrap().answer(&method, &uri, &body);
            let json = [("content-type", "application/json")];
            let reply: Response = (code, json, value.to_string()).into_response();
            reply
        };
        let router = Router::new().fallback(answer);
        runtime.spawn(async move { axum::serve(listener, router).await });
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("orlop-cli-release-{}-{number}.json", std::process::id());
        let kubeconfig = env::temp_dir().join(name);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": format!("http://{address}")}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it", "namespace": "lantern"}}],
            "users": [{"name": "it", "user": {}}],
        });
        fs::write(&kubeconfig, config.to_string()).unwrap();
        Self {
            world,
            kubeconfig,
            _runtime: runtime,
        }
    }

    pub(crate) fn release(&self, arguments: &[&str]) -> Output {
        self.orlop()
            .arg("release")
            .args(arguments)
            .output()
            .unwrap()
    }

    pub(crate) fn apply_and_wait(&self, manifest: &str, timeout: &str) -> Output {
        let mut orlop = self
            .orlop()
            .args(["apply", "-f", "-", "--wait", "--timeout", timeout])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = orlop.stdin.take().unwrap();
        stdin.write_all(manifest.as_bytes()).unwrap();
        drop(stdin);
        orlop.wait_with_output().unwrap()
    }

    fn orlop(&self) -> Command {
        let mut orlop = Command::new(env!("CARGO_BIN_EXE_orlop"));
        orlop.env("KUBECONFIG", &self.kubeconfig);
        // The server is on this machine.
        orlop.env("NO_PROXY", "127.0.0.1");
        orlop
    }

    /// The command that stands at the service.
    pub(crate) fn commanded(&self, service: &str) -> String {
        let world = self.world.lock().unwrap();
        let object = &world.objects[&("appservices".to_owned(), service.to_owned())];
        let command = &object["metadata"]["annotations"][COMMAND];
        command.as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn writes(&self) -> usize {
        self.world.lock().unwrap().writes
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        fs::remove_file(&self.kubeconfig).unwrap();
    }
}
