//! `/debug/flags/v`: how much is logged, changed while serving (`curl -X PUT -d 4 …/debug/flags/v`), as klog's verbosity is upstream.

use apimachinery::go;
use base::logging;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};

use crate::{body::Body, negotiation::plain_error};

const PAGE: &str = "<html>
<head>
<title>/debug/flags/</title>
</head>
<body>
/debug/flags/<br>
<br>
flags:<br>
<table>
<tr>v<br>
</table>
<br>
full flags configurable<br>
</body>
</html>
";

/// A number has no more digits.
const MAX_BODY: usize = 64;

/// Answers if the path is one of these.
pub(crate) async fn respond(path: &str, request: Request<Body>) -> Response<Body> {
    if path != "/debug/flags/v" {
        let mut response = Response::new(Body::from(PAGE.to_owned()));
        let media_type = HeaderValue::from_static("text/html; charset=utf-8");
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, media_type);
        return response;
    }
    let (code, text) = if *request.method() == Method::PUT {
        match set(request).await {
            Ok(text) => (StatusCode::OK, text),
            Err(problem) => (StatusCode::BAD_REQUEST, problem),
        }
    } else {
        let text = "unsupported http method".to_owned();
        (StatusCode::NOT_ACCEPTABLE, text)
    };
    let mut response = plain_error(code, &text);
    let media_type = HeaderValue::from_static("text/plain");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, media_type);
    response
}

async fn set(request: Request<Body>) -> Result<String, String> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect().await;
    let body = body.map_err(|error| format!("error reading request body: {error}"))?;
    let bytes = body.to_bytes();
    let text = String::from_utf8_lossy(&bytes);
    let level: Result<i32, _> = go::parse_int(&text);
    level
        .and_then(logging::set_verbosity)
        .map_err(|problem| format!("failed set klog.logging.verbosity {text}: {problem}"))?;
    Ok(format!("successfully set klog.logging.verbosity to {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(method: Method, path: &str, body: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = respond(path, request).await;
        let code = response.status().as_u16();
        let media_type = match path {
            "/debug/flags/v" => "text/plain",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(response.headers()[header::CONTENT_TYPE], media_type);
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn only_numbers_are_put() {
        logging::init(logging::LogTarget::Stderr);
        let set = "successfully set klog.logging.verbosity to 4\n".to_owned();
        let path = "/debug/flags/v";
        assert_eq!(ask(Method::PUT, path, "4").await, (200, set));
        for (body, reason) in [
            ("", "invalid syntax"),
            ("a", "invalid syntax"),
            ("2147483648", "value out of range"),
        ] {
            let refused = format!(
                "failed set klog.logging.verbosity {body}: strconv.ParseInt: parsing \"{body}\": {reason}\n"
            );
            assert_eq!(ask(Method::PUT, path, body).await, (400, refused));
        }
        assert_eq!(ask(Method::PUT, path, &"1".repeat(100)).await.0, 400);
        assert_eq!(ask(Method::GET, path, "").await.0, 406);
        assert!(
            ask(Method::GET, "/debug/flags", "")
                .await
                .1
                .contains("<tr>v<br>")
        );
    }
}
