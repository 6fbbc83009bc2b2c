//! The front door of `up`: routes each request by the region in its SigV4 credential scope.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::cluster::CLUSTER_PATH;
use super::supervisor::Members;

type Body = BoxBody<Bytes, hyper::Error>;
type Proxy = Client<HttpConnector, Incoming>;

/// Accepts and routes until `stop`.
pub async fn serve(listener: TcpListener, members: Arc<Members>, stop: CancellationToken) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let proxy: Proxy = Client::builder(TokioExecutor::new()).build(connector);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    continue;
                }
            },
            () = stop.cancelled() => return,
        };
        // Failing to set it costs latency, not correctness.
        let _ = stream.set_nodelay(true);
        let (members, proxy, stop) = (members.clone(), proxy.clone(), stop.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| route(request, members.clone(), proxy.clone()));
            let builder = auto::Builder::new(TokioExecutor::new());
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                result = connection => if let Err(error) = result {
                    tracing::debug!(%error, "a connection ended");
                },
                () = stop.cancelled() => {}
            }
        });
    }
}

async fn route(
    request: Request<Incoming>,
    members: Arc<Members>,
    proxy: Proxy,
) -> Result<Response<Body>, Infallible> {
    if request.uri().path() == CLUSTER_PATH {
        let body = serde_json::to_vec(&members.cluster()).unwrap_or_default();
        return Ok(answer(StatusCode::OK, body));
    }
    let region = scope_region(&request);
    let Some(member) = members.serving(region.as_deref()) else {
        let known: Vec<String> = members.list().into_iter().map(|m| m.name).collect();
        return Ok(wrong_region(&region.unwrap_or_default(), &known.join(", ")));
    };
    Ok(match forward(request, &member.endpoint, &proxy).await {
        Ok(response) => response,
        Err(reason) => down(&member.name, &reason),
    })
}

/// The region a request was signed for.
fn scope_region<B>(request: &Request<B>) -> Option<String> {
    let from_header = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|v| v.to_str().ok());
    let scope = match from_header {
        Some(header) => header
            .split("Credential=")
            .nth(1)?
            .split([',', ' '])
            .next()?
            .to_owned(),
        None => {
            let query = request.uri().query()?;
            let credential = query
                .split('&')
                .find_map(|p| p.strip_prefix("X-Amz-Credential="))?;
            credential.replace("%2F", "/").replace("%2f", "/")
        }
    };
    scope.split('/').nth(2).map(str::to_owned)
}

async fn forward(
    mut request: Request<Incoming>,
    endpoint: &str,
    proxy: &Proxy,
) -> Result<Response<Body>, String> {
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |p| p.as_str())
        .to_owned();
    let authority = request.uri().authority().cloned();
    *request.uri_mut() = format!("{endpoint}{path}")
        .parse::<Uri>()
        .map_err(|e| e.to_string())?;
    *request.version_mut() = hyper::Version::HTTP_11;
    // The signature covers the host that the client named.
    if let (None, Some(authority)) = (request.headers().get(HOST), authority) {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|e| e.to_string())?;
        request.headers_mut().insert(HOST, host);
    }
    let response = proxy.request(request).await.map_err(|e| e.to_string())?;
    Ok(response.map(BodyExt::boxed))
}

fn answer(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let body = Full::new(Bytes::from(body))
        .map_err(|never| match never {})
        .boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/x-amz-json-1.0");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn wrong_region(region: &str, known: &str) -> Response<Body> {
    let body = json!({
        "__type": "com.amazon.coral.service#InvalidSignatureException",
        "message": format!("Credential should be scoped to a valid region, not '{region}'. This cluster has: {known}"),
    });
    answer(StatusCode::BAD_REQUEST, body.to_string().into_bytes())
}

/// A region that is down answers as DynamoDB would: retryable.
fn down(region: &str, reason: &str) -> Response<Body> {
    tracing::warn!(region, reason, "a region does not answer");
    let body = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#InternalServerError",
        "message": format!("region {region} does not answer"),
    });
    answer(
        StatusCode::SERVICE_UNAVAILABLE,
        body.to_string().into_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credential_scope_names_the_region() {
        let auth = "AWS4-HMAC-SHA256 Credential=AKID/20261124/eu-west-1/dynamodb/aws4_request, SignedHeaders=host";
        let request = Request::builder()
            .header(AUTHORIZATION, auth)
            .body(())
            .unwrap();
        assert_eq!(scope_region(&request).as_deref(), Some("eu-west-1"));
        let uri = "/?X-Amz-Credential=AKID%2F20261124%2Fus-east-1%2Fdynamodb%2Faws4_request";
        let request = Request::builder().uri(uri).body(()).unwrap();
        assert_eq!(scope_region(&request).as_deref(), Some("us-east-1"));
        assert_eq!(scope_region(&Request::builder().body(()).unwrap()), None);
    }
}
