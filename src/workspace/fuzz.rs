//! A target of fuzzing: what the API server sends on an exec stream, and what is sent to it.

use std::io::Cursor;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::WebSocket;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use super::exec::{Frame, STDIN, exit_code};
use super::wire::encode;

/// Whatever the frame is: output is all of it but its channel, and a status is an exit code or an error. The same bytes
/// as stdin arrive as they are.
pub fn exec_frame(frame: &[u8]) {
    let key = *frame.last_chunk().unwrap_or(&[1, 2, 3, 4]);
    let mut sent = Vec::new();
    encode(frame, key, &mut sent);
    let came = WebSocket::from_partially_read(Cursor::new(Vec::new()), sent, Role::Server, None).read();
    assert!(matches!(came, Ok(Message::Binary(came)) if came[0] == STDIN && came[1..] == *frame));
    match Frame::parse(Message::Binary(Bytes::copy_from_slice(frame))) {
        Ok(Frame::Stdout(payload)) => assert!(frame[0] == 1 && payload == frame[1..]),
        Ok(Frame::Stderr(payload)) => assert!(frame[0] == 2 && payload == frame[1..]),
        Ok(Frame::Status(status)) => {
            let succeeded = status.status.as_deref() == Some("Success");
            let code = exit_code(&status);
            assert!(frame[0] == 3 && (!succeeded || matches!(code, Ok(0))));
        }
        Ok(Frame::Pong) => panic!("a pong is no binary message"),
        Ok(Frame::Other) => assert!(!(1..=3).contains(&frame[0])),
        Err(_) => assert!(frame.first().is_none_or(|channel| *channel == 3)),
    }
}

#[cfg(test)]
pub(crate) mod seeds {
    use serde_json::json;

    pub(crate) fn exec_frames() -> Vec<Vec<u8>> {
        let status = |value: serde_json::Value| [vec![3], value.to_string().into_bytes()].concat();
        let causes = json!({"causes": [{"reason": "ExitCode", "message": "137"}]});
        vec![
            b"\x01output".to_vec(),
            b"\x02errors".to_vec(),
            vec![255, 3],
            status(json!({"metadata": {}, "status": "Success"})),
            status(json!({"status": "Failure", "reason": "NonZeroExitCode", "details": causes})),
            status(json!({"status": "Failure", "reason": "InternalError", "message": "no such file", "code": 500})),
        ]
    }
}
