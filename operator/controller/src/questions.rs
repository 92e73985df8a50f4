//! Asks what a release wants to know, over HTTP.

use std::time::Duration;

use futures::future::join_all;
use http::{Method, StatusCode, Uri};
use jiff::Timestamp;
use orlop_plan::{
    Question, QuestionsSource, ReadFailure,
    question::{Address, Ask, Reading},
};
use serde_json::Value;
use tokio::time::timeout;

use crate::connection::Connection;

/// For one answer. A revision that is slower is no better than one that does not answer.
const DEADLINE: Duration = Duration::from_secs(3);
/// Of an answer, where a text is looked for.
const BODY_BYTES: usize = 64 << 10;
/// Longest piece of an answer that is quoted, in characters.
const QUOTE_CHARS: usize = 120;

/// Asks all that are due, at the same time.
pub(crate) async fn ask(source: &QuestionsSource, before: &Reading) -> Reading {
    let now = Timestamp::now();
    let due = source.questions.iter().filter(|it| before.is_due(it, now));
    let answers = due.map(|question| async move {
        let answer = match timeout(DEADLINE, answer(question)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
        };
        (question, answer)
    });
    Reading::of_round(now, join_all(answers).await)
}

/// Why the answer is not good, in words.
async fn answer(question: &Question) -> Result<(), String> {
    match &question.ask {
        Ask::Reach { at, times } => reach(at, *times).await,
        Ask::Http { at, status, body } => http(at, *status, body.as_deref()).await,
        Ask::Prometheus {
            url,
            query,
            min,
            max,
        } => {
            let number = prometheus(url, query).await?;
            within(number, min.as_deref(), max.as_deref())
        }
    }
}

/// Each time over a new connection, since one that is open may lead elsewhere. It must be accepted,
/// and something must come of it in time; what, is not judged: not everything speaks HTTP/1.
async fn reach(at: &Address, times: u32) -> Result<(), String> {
    for _ in 0..times {
        let connection = Connection::open(&at.ip.to_string(), at.port, None).await;
        let mut connection = connection.map_err(|failure| told(at, &failure))?;
        if let Err(failure) = connection.peek(&at.path, 0).await {
            tracing::debug!(%failure, path = at.path, "reached, but not answered in HTTP/1");
        }
    }
    Ok(())
}

async fn http(at: &Address, status: u16, text: Option<&str>) -> Result<(), String> {
    let bytes = if text.is_some() { BODY_BYTES } else { 0 };
    let answer = get(at, bytes).await;
    let (found, body) = answer.map_err(|failure| told(at, &failure))?;
    if found.as_u16() != status {
        return Err(format!(
            "GET {} gives status {} instead of {status}",
            at.path,
            found.as_u16()
        ));
    }
    match text {
        Some(text) if !body.contains(text) => {
            Err(format!("GET {} gives an answer without '{text}'", at.path))
        }
        _ => Ok(()),
    }
}

async fn get(at: &Address, bytes: usize) -> Result<(StatusCode, String), ReadFailure> {
    let connection = Connection::open(&at.ip.to_string(), at.port, None).await?;
    let answer = connection.named(&at.host).peek(&at.path, bytes).await?;
    Ok((
        answer.status,
        String::from_utf8_lossy(&answer.body).into_owned(),
    ))
}

fn told(at: &Address, failure: &ReadFailure) -> String {
    format!("GET {}: {failure}", at.path)
}

/// The one number that a query gives now.
async fn prometheus(url: &str, query: &str) -> Result<f64, String> {
    let told = |failure: ReadFailure| format!("Prometheus {failure}");
    let address: Uri = url
        .parse()
        .map_err(|error| format!("'{url}' is no address: {error}"))?;
    let host = address.host().unwrap_or_default();
    let port = address.port_u16().unwrap_or(80);
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("query", query)
        .finish();
    let path = format!(
        "{}/api/v1/query?{query}",
        address.path().trim_end_matches('/')
    );
    let mut connection = Connection::open(host, port, None).await.map_err(told)?;
    let answer = connection.ask(&Method::GET, &path, None).await;
    let answer = answer.map_err(told)?;
    let body = String::from_utf8_lossy(&answer.body);
    if answer.status != StatusCode::OK {
        let body: String = body.chars().take(QUOTE_CHARS).collect();
        return Err(format!("Prometheus gives status {}: {body}", answer.status));
    }
    let value = serde_json::from_str(&body)
        .map_err(|error| format!("Prometheus gives an answer that is no JSON: {error}"))?;
    number(&value)
}

/// Of a scalar, or of a vector with one sample:
/// <https://prometheus.io/docs/prometheus/latest/querying/api/#expression-query-result-formats>.
fn number(answer: &Value) -> Result<f64, String> {
    let result = &answer["data"]["result"];
    let sample = match answer["data"]["resultType"].as_str() {
        Some("scalar") => &result[1],
        Some("vector") => match result.as_array().map(Vec::as_slice) {
            Some([one]) => &one["value"][1],
            Some([]) => return Err("the query gives no number".to_owned()),
            _ => return Err("the query gives more than one number".to_owned()),
        },
        _ => return Err("the query gives neither a scalar nor a vector".to_owned()),
    };
    let text = sample.as_str().unwrap_or_default();
    text.parse()
        .map_err(|_| format!("the query gives '{text}', which is no number"))
}

fn within(number: f64, min: Option<&str>, max: Option<&str>) -> Result<(), String> {
    let bound = |text: &str| {
        text.parse::<f64>()
            .map_err(|_| format!("'{text}' is no number"))
    };
    if number.is_nan() {
        return Err("the query gives no number".to_owned());
    }
    if let Some(min) = min
        && number < bound(min)?
    {
        return Err(format!("{number} is less than {min}"));
    }
    if let Some(max) = max
        && number > bound(max)?
    {
        return Err(format!("{number} is more than {max}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    fn answer(kind: &str, result: &Value) -> Value {
        json!({"status": "success", "data": {"resultType": kind, "result": result}})
    }

    #[test]
    fn one_number_is_read_of_what_prometheus_answers() {
        let sample = |value: &str| json!({"metric": {}, "value": [1, value]});
        let cases = [
            (answer("scalar", &json!([1, "0.5"])), Ok(0.5)),
            (answer("vector", &json!([sample("3")])), Ok(3.0)),
            (
                answer("vector", &json!([])),
                Err("the query gives no number".to_owned()),
            ),
            (
                answer("vector", &json!([sample("1"), sample("2")])),
                Err("the query gives more than one number".to_owned()),
            ),
            (
                answer("matrix", &json!([])),
                Err("the query gives neither a scalar nor a vector".to_owned()),
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(number(&body), expected, "{body}");
        }
    }

    /// Answers each request with these bytes.
    async fn server(bytes: &'static [u8]) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = address(&listener);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let read = stream.read(&mut request).await.unwrap();
                assert!(read > 0, "a request has a first line");
                stream.write_all(bytes).await.unwrap();
            }
        });
        at
    }

    fn address(listener: &TcpListener) -> Address {
        let address = listener.local_addr().unwrap();
        Address {
            ip: address.ip(),
            port: address.port(),
            host: "rope".to_owned(),
            path: "/".to_owned(),
        }
    }

    const SORRY: &[u8] = b"HTTP/1.1 503 Sorry\r\ncontent-length: 4\r\n\r\nsick";

    #[tokio::test]
    async fn whatever_accepts_and_answers_is_reached() {
        // The first frame of an HTTP/2 server.
        let settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00";
        for bytes in [SORRY, settings] {
            assert_eq!(reach(&server(bytes).await, 3).await, Ok(()));
        }
        let gone = address(&TcpListener::bind("127.0.0.1:0").await.unwrap());
        assert!(reach(&gone, 3).await.is_err());
    }

    #[tokio::test]
    async fn an_answer_is_judged_by_its_status_and_its_text() {
        let at = server(SORRY).await;
        assert_eq!(http(&at, 503, Some("sick")).await, Ok(()));
        let other = http(&at, 200, None).await;
        assert_eq!(
            other,
            Err("GET / gives status 503 instead of 200".to_owned())
        );
        let other = http(&at, 503, Some("well")).await;
        assert_eq!(
            other,
            Err("GET / gives an answer without 'well'".to_owned())
        );
    }

    #[test]
    fn a_number_is_good_between_its_bounds_only() {
        assert_eq!(within(0.5, Some("0"), Some("0.5")), Ok(()));
        assert_eq!(
            within(0.6, None, Some("0.5")),
            Err("0.6 is more than 0.5".to_owned())
        );
        assert_eq!(
            within(-1.0, Some("0"), None),
            Err("-1 is less than 0".to_owned())
        );
        assert!(within(f64::NAN, Some("0"), None).is_err());
        assert!(within(f64::NAN, None, Some("0")).is_err());
    }
}
