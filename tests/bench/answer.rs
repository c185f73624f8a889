//! A platform that says yes to everything at once: the ceiling that the apply stage is measured against, for wrk and passferry alike.
//!
//! `answer [ADDRESS]` serves HTTP/1.1 on one thread. It reads each request by its `Content-Length` and answers 200 with one fixed member.

use std::env;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const BODY: &str = r#"{"id":"3oD5jBaT2aqPnBMNvSWoc8","created":"2026-01-02T03:04:05Z"}"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(&address).await?;
    println!("answers at http://{}", listener.local_addr()?);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len());
    let answer: &'static str = answer.leak();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A client that hangs up is at its end.
            let _ = serve(stream, answer.as_bytes()).await;
        });
    }
}

async fn serve(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    let mut text = Vec::with_capacity(4096);
    while stream.read_buf(&mut text).await? > 0 {
        while let Some(length) = request_length(&text) {
            text.drain(..length);
            stream.write_all(answer).await?;
        }
    }
    Ok(())
}

/// Bytes of the request at the start of the text; none while it has not all come.
fn request_length(text: &[u8]) -> Option<usize> {
    let head = text.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let lines = text[..head].split(|&byte| byte == b'\n');
    let length = lines.filter_map(|line| line.split_at_checked(15)).find(|(name, _)| name.eq_ignore_ascii_case(b"content-length:"));
    let body = length.and_then(|(_, value)| std::str::from_utf8(value).ok()?.trim().parse().ok()).unwrap_or(0);
    (text.len() >= head + body).then_some(head + body)
}
