//! HTTP/2 over TLS, and nothing else.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::ssl::{AlpnError, Ssl, SslAcceptor, SslMethod, SslRef, SslVerifyMode, select_next_proto};
use openssl::x509::X509VerifyResult;
use openssl::x509::store::X509StoreBuilder;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_openssl::SslStream;

use super::apns::{By, Fate, Push, Shared};
use super::certificates::Certificates;
use super::judge::{Asked, Refusal, Shown};
use crate::sandbox::stand_in::uuid;

/// As ALPN names HTTP/2 (RFC 7540 section 3.3).
const H2: &[u8] = b"\x02h2";
/// How long a client may take to say hello.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How much of a body is read at all.
const READ_MAX: usize = 64 * 1024;

pub(super) fn acceptor(certificates: &Certificates) -> anyhow::Result<SslAcceptor> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    builder.set_private_key(&certificates.server.key)?;
    builder.set_certificate(&certificates.server.certificate)?;
    builder.set_alpn_select_callback(|_, offered| {
        // What is offered beside it does not count; without it there is nothing to talk about.
        select_next_proto(H2, offered).filter(|chosen| *chosen == b"h2").ok_or(AlpnError::ALERT_FATAL)
    });
    let mut trusted = X509StoreBuilder::new()?;
    trusted.add_cert(certificates.root.certificate.clone())?;
    trusted.add_cert(certificates.wwdr.certificate.clone())?;
    builder.set_verify_cert_store(trusted.build())?;
    // Whom a certificate opens the door to is said in an answer, not in an alert.
    builder.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
    Ok(builder.build())
}

pub(super) async fn serve(listener: std::net::TcpListener, acceptor: SslAcceptor, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(problem) => return tracing::error!(%problem, "the push service cannot listen"),
    };
    let accepting = async {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            if shared.lock().down {
                continue;
            }
            let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
            tokio::spawn(async move {
                if let Err(problem) = talk(stream, &acceptor, shared).await {
                    tracing::debug!("{problem:#}");
                }
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        _ = stopped => {}
    }
}

/// How a connection ends before its time.
enum End {
    GoAway,
    Drop,
}

async fn talk(stream: TcpStream, acceptor: &SslAcceptor, shared: Arc<Shared>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = SslStream::new(Ssl::new(acceptor.context())?, stream)?;
    tokio::time::timeout(HANDSHAKE, Pin::new(&mut stream).accept()).await??;
    forget_errors();
    anyhow::ensure!(stream.ssl().selected_alpn_protocol() == Some(b"h2"), "the client does not ask for HTTP/2");
    let (shown, number) = (Arc::new(shown(stream.ssl())), shared.lock().connection());
    let mut builder = h2::server::Builder::new();
    let mut connection = builder.max_concurrent_streams(shared.settings.streams).handshake::<_, Bytes>(stream).await?;
    let (ends, mut ended) = mpsc::unbounded_channel();
    loop {
        tokio::select! {
            biased;
            end = ended.recv() => match end {
                Some(End::GoAway) => connection.graceful_shutdown(),
                Some(End::Drop) | None => return Ok(()),
            },
            asked = connection.accept() => {
                let Some(asked) = asked else { return Ok(()) };
                let (request, respond) = asked?;
                let (shared, shown, ends) = (Arc::clone(&shared), Arc::clone(&shown), ends.clone());
                tokio::spawn(async move {
                    if let Err(problem) = answer(request, respond, &shared, &shown, number, &ends).await {
                        tracing::debug!("{problem:#}");
                    }
                });
            }
        }
    }
}

/// OpenSSL keeps the errors of what failed, a signature or a certificate, and would lay them to the account of what comes next on the same
/// thread, which is every connection.
fn forget_errors() {
    drop(ErrorStack::get());
}

/// Whose certificate a client has.
fn shown(ssl: &SslRef) -> Shown {
    let Some(certificate) = ssl.peer_certificate() else { return Shown::Nothing };
    if ssl.verify_result() != X509VerifyResult::OK {
        return Shown::Untrusted;
    }
    let uid = certificate.subject_name().entries_by_nid(Nid::USERID).next().and_then(|entry| entry.data().to_string().ok());
    uid.map_or(Shown::Untrusted, Shown::PassType)
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    shared: &Shared,
    shown: &Shown,
    connection: u64,
    ends: &mpsc::UnboundedSender<End>,
) -> anyhow::Result<()> {
    let (head, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        if body.len() < READ_MAX {
            body.extend_from_slice(&piece);
        }
    }
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    let asked = Asked { method: &head.method, path, headers: &head.headers, body: &body, shown };
    let id = asked.header("apns-id").map_or_else(|| uuid().to_uppercase(), str::to_owned);
    let judged = asked.judge(shared);
    forget_errors();
    let text = |name: &str| asked.header(name).unwrap_or("").to_owned();
    let sequence = shared.note(Push {
        sequence: 0,
        at_ms: 0,
        connection,
        method: head.method.to_string(),
        path: path.to_owned(),
        token: path.rsplit('/').next().unwrap_or("").to_owned(),
        topic: judged.as_ref().map_or_else(|_| text("apns-topic"), |good| good.topic.to_owned()),
        push_type: text("apns-push-type"),
        priority: text("apns-priority"),
        id: id.clone(),
        body: String::from_utf8_lossy(&body).into_owned(),
        by: judged.as_ref().map_or(By::Nothing, |good| good.by),
        status: None,
        reason: None,
        accepted: false,
    });
    let fate = judged.map(|good| shared.lock().fate(good.token, good.topic, shared.settings.any_device));
    let refusal = match fate {
        Err(refusal) => Some(refusal),
        Ok(Fate::Stalled) => {
            // Until the client resets the stream or the connection ends.
            let _ = std::future::poll_fn(|context| respond.poll_reset(context)).await;
            return Ok(());
        }
        Ok(end @ (Fate::DropBefore | Fate::DropAfter)) => {
            shared.settle(sequence, None, None, end == Fate::DropAfter);
            let _ = ends.send(End::Drop);
            return Ok(());
        }
        Ok(Fate::Shutdown) => {
            let refusal = Refusal::of(503, "Shutdown");
            shared.settle(sequence, Some(503), Some(refusal.reason.clone()), false);
            send(&mut respond, Some(&refusal), &id)?;
            let _ = ends.send(End::GoAway);
            return Ok(());
        }
        Ok(fate) => refused(fate),
    };
    let (status, reason) = refusal.as_ref().map_or((200, None), |refusal| (refusal.status, Some(refusal.reason.clone())));
    shared.settle(sequence, Some(status), reason, status == 200);
    send(&mut respond, refusal.as_ref(), &id)
}

fn refused(fate: Fate) -> Option<Refusal> {
    let gone = |reason: &str, timestamp| Refusal { timestamp: Some(timestamp), ..Refusal::of(410, reason) };
    Some(match fate {
        Fate::BadDeviceToken => Refusal::of(400, "BadDeviceToken"),
        Fate::DeviceTokenNotForTopic => Refusal::of(400, "DeviceTokenNotForTopic"),
        Fate::Unregistered { timestamp } => gone("Unregistered", timestamp),
        Fate::ExpiredToken { timestamp } => gone("ExpiredToken", timestamp),
        Fate::TooMany { .. } => Refusal::of(429, "TooManyRequests"),
        Fate::InternalServerError => Refusal::of(500, "InternalServerError"),
        Fate::Refuse { status, reason } => Refusal::of(status, &reason),
        Fate::Healthy | Fate::Shutdown | Fate::Stalled | Fate::DropBefore | Fate::DropAfter => return None,
    })
}

fn send(respond: &mut SendResponse<Bytes>, refusal: Option<&Refusal>, id: &str) -> anyhow::Result<()> {
    let mut response = Response::new(());
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert("apns-id", id);
    }
    let Some(refusal) = refusal else {
        respond.send_response(response, true)?;
        return Ok(());
    };
    *response.status_mut() = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut body = json!({"reason": refusal.reason});
    if let Some(timestamp) = refusal.timestamp {
        body["timestamp"] = timestamp.into();
    }
    respond.send_response(response, false)?.send_data(Bytes::from(body.to_string()), true)?;
    Ok(())
}
