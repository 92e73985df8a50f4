//! The edge's configuration.
//!
//! Why it is as it is:
//! - Upstreams are the Services' addresses, looked up while running (`resolve`, nginx 1.27.3), so a
//!   Service that was deleted and made again is found without a reload.
//! - Each upstream stands three times: a connection that cannot be made (its pod's node is gone) is
//!   tried again through the Service, which balances it elsewhere. `max_fails=0`, since one address
//!   stands for all pods.
//! - No idle connections to upstreams: a request sent into one that is just being closed is lost
//!   if it may not be repeated, and kept connections would stick to a revision after a switch.
//! - Bodies are streamed, never stored: the only writable place is small and in memory.

use std::fmt::Write as _;

use orlop_crds::app_platform::Route;

use super::validate::ValidatedPlatform;
use crate::service::{SERVICE_PORT, host};

pub(super) const PORT: i32 = 8080;
pub(super) const HEALTH_PORT: i32 = 8081;

/// A request is tried through so many connections; the third would meet the same dead pod of three
/// with a chance of one in 27.
const TRIES: usize = 3;

pub(super) fn config(platform: &ValidatedPlatform) -> String {
    let routed = platform.routed();
    let upstreams: String = routed
        .iter()
        .map(|(name, _)| upstream(platform, name))
        .collect();
    let locations: String = routed
        .iter()
        .map(|(name, routes)| locations(name, routes))
        .collect();
    let fallback = if has_root(&routed) {
        ""
    } else {
        "        location / { return 404; }\n"
    };
    format!(
        "{HEAD}\n{upstreams}{}{locations}{fallback}    }}\n}}\n",
        servers()
    )
}

fn has_root(routed: &[(&str, &[Route])]) -> bool {
    routed
        .iter()
        .flat_map(|(_, routes)| *routes)
        .any(|route| route.path == "/")
}

fn upstream(platform: &ValidatedPlatform, name: &str) -> String {
    let object = platform.object_name(name);
    let host = host(&object, &platform.namespace, &platform.cluster_domain);
    let server = format!("        server {host}:{SERVICE_PORT} resolve max_fails=0;\n");
    format!(
        "    upstream {name} {{\n        zone {name} 64k;\n{}        keepalive 0;\n    }}\n",
        server.repeat(TRIES)
    )
}

/// A path matches itself and everything below it; nginx takes the longest.
fn locations(name: &str, routes: &[Route]) -> String {
    let mut text = String::new();
    for route in routes {
        let body = format!(
            "{{\n            set $orlop_route {name}/{};\n            proxy_pass http://{name};\n        }}\n",
            route.name
        );
        let path = route.path.trim_end_matches('/');
        // Writing to a String cannot fail.
        let _infallible = if path.is_empty() {
            write!(text, "        location / {body}")
        } else {
            write!(
                text,
                "        location = {path} {body}        location ^~ {path}/ {body}"
            )
        };
    }
    text
}

fn servers() -> String {
    format!(
        "
    server {{
        listen {HEALTH_PORT};
        access_log off;
        location = /healthz {{ return 200 \"ok\\n\"; }}
        location = /status {{ stub_status; }}
        location / {{ return 404; }}
    }}

    server {{
        listen {PORT} default_server;
        set $orlop_route '';
"
    )
}

const HEAD: &str = r#"daemon off;
worker_processes 2;
worker_shutdown_timeout 30s;
pid /tmp/nginx.pid;
error_log stderr warn;

events {
    worker_connections 4096;
}

http {
    include /tmp/resolver.conf;

    client_body_temp_path /tmp/client_body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;

    log_format json escape=json '{"time":"$time_iso8601","request_id":"$request_id",'
        '"remote":"$remote_addr","method":"$request_method","host":"$host","uri":"$request_uri",'
        '"status":$status,"bytes":$body_bytes_sent,"seconds":$request_time,'
        '"route":"$orlop_route","upstream":"$upstream_addr",'
        '"upstream_status":"$upstream_status","upstream_seconds":"$upstream_response_time"}';
    access_log /dev/stdout json;

    server_tokens off;
    absolute_redirect off;
    client_max_body_size 64m;
    client_header_timeout 30s;
    client_body_timeout 30s;
    large_client_header_buffers 4 16k;
    keepalive_timeout 75s;
    keepalive_min_timeout 15s;

    map $http_upgrade $orlop_connection {
        default upgrade;
        ''      close;
    }
    map $http_host $orlop_host {
        default $http_host;
        ''      $host;
    }
    map $http_x_forwarded_proto $orlop_proto {
        default $http_x_forwarded_proto;
        ''      $scheme;
    }

    proxy_http_version 1.1;
    proxy_set_header Host $orlop_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $orlop_connection;
    proxy_set_header X-Request-ID $request_id;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Host $orlop_host;
    proxy_set_header X-Forwarded-Proto $orlop_proto;
    proxy_connect_timeout 1s;
    proxy_read_timeout 60s;
    proxy_send_timeout 60s;
    proxy_next_upstream error timeout;
    proxy_next_upstream_tries 3;
    proxy_next_upstream_timeout 5s;
    proxy_request_buffering off;
    proxy_max_temp_file_size 0;
"#;
