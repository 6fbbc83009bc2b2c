//! The front door of `up`: routes each request by the region in its SigV4 credential scope.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::cluster::CLUSTER_PATH;
use super::supervisor::Members;
use crate::api::{self, Limits};
use crate::replica::ApiError;

type Body = BoxBody<Bytes, hyper::Error>;
type Proxy = Client<HttpConnector, Incoming>;

/// Accepts and routes until `stop`.
pub async fn serve(listener: TcpListener, members: Arc<Members>, stop: CancellationToken) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let proxy: Proxy = Client::builder(TokioExecutor::new()).build(connector);
    let handler = move |request| route(request, members.clone(), proxy.clone());
    api::accept(listener, handler, Limits::default(), stop).await;
}

async fn route(request: Request<Incoming>, members: Arc<Members>, proxy: Proxy) -> Response<Body> {
    if request.uri().path() == CLUSTER_PATH {
        let body = serde_json::to_vec(&members.cluster()).unwrap_or_default();
        return answer(body);
    }
    let region = scope_region(&request);
    let Some(member) = members.serving(region.as_deref()) else {
        return down("any", "the cluster has no regions");
    };
    match forward(request, &member.endpoint, &proxy).await {
        Ok(response) => response,
        Err(reason) => down(&member.name, &reason),
    }
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
    let mut response = proxy.request(request).await.map_err(|e| e.to_string())?;
    // It speaks of the connection to the region; the client's own is kept or closed by this side.
    response.headers_mut().remove(CONNECTION);
    Ok(response.map(BodyExt::boxed))
}

fn whole(body: Full<Bytes>) -> Body {
    body.map_err(|never| match never {}).boxed()
}

fn answer(body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(whole(Full::new(Bytes::from(body))));
    *response.status_mut() = StatusCode::OK;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A region that is down answers as DynamoDB would: retryable.
fn down(region: &str, reason: &str) -> Response<Body> {
    tracing::warn!(region, reason, "a region does not answer");
    let failure = ApiError::ServiceUnavailable(format!("region {region} does not answer"));
    api::refusal(&failure).map(whole)
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
