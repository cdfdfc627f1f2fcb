//! Servers as their documentation shows them: a task per connection, fed by a broadcast channel. `peers KIND TEXT` prints its
//! port; each line of its stdin is a number of messages, TEXT each, to send to everybody.

use futures_util::{SinkExt as _, StreamExt as _};
use poem::listener::{Acceptor as _, Listener as _, TcpListener};
use poem::web::websocket::{Message, WebSocket, WebSocketConfig};
use poem::web::Data;
use poem::{EndpointExt as _, IntoResponse, Route, Server, get, handler};
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio::sync::broadcast::{self, Sender};
use tokio_tungstenite::tungstenite;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(kind), Some(text)) = (args.next(), args.next()) else { panic!("peers KIND TEXT") };
    let (events, _) = broadcast::channel::<std::sync::Arc<str>>(1024);
    let publisher = events.clone();
    let server = async {
        match kind.as_str() {
            "tungstenite" => tungstenite_server(events).await,
            "poem" => poem_server(events, false).await,
            "poem-tuned" => poem_server(events, true).await,
            other => panic!("no peer {other}"),
        }
    };
    let publish = async {
        let text: std::sync::Arc<str> = text.into();
        let mut lines = BufReader::new(stdin()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            for _ in 0..line.parse().unwrap_or(0) {
                let _ = publisher.send(text.clone());
            }
        }
    };
    tokio::select! { () = server => {}, () = publish => {} }
}

async fn tungstenite_server(events: Sender<std::sync::Arc<str>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("bound").port());
    while let Ok((tcp, _)) = listener.accept().await {
        let mut events = events.subscribe();
        tokio::spawn(async move {
            tcp.set_nodelay(true)?;
            let mut ws = tokio_tungstenite::accept_async(tcp).await?;
            ws.send(tungstenite::Message::text("hello")).await?;
            loop {
                tokio::select! {
                    event = events.recv() => match event {
                        Ok(text) => ws.send(tungstenite::Message::text(&*text)).await?,
                        Err(_) => return Ok::<_, tungstenite::Error>(()),
                    },
                    said = ws.next() => if said.is_none() { return Ok(()) },
                }
            }
        });
    }
}

#[handler]
fn poem_ws(ws: WebSocket, Data((events, tuned)): Data<&(Sender<std::sync::Arc<str>>, bool)>) -> impl IntoResponse {
    let mut events = events.subscribe();
    // As documented it keeps 128 KiB for each connection.
    let small = || WebSocketConfig::default().write_buffer_size(0).read_buffer_size(4096);
    let ws = if *tuned { ws.config(small()) } else { ws };
    ws.on_upgrade(move |socket| async move {
        let (mut sink, mut source) = socket.split();
        if sink.send(Message::text("hello")).await.is_err() {
            return;
        }
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(text) => if sink.send(Message::text(&*text)).await.is_err() { return },
                    Err(_) => return,
                },
                said = source.next() => if said.is_none() { return },
            }
        }
    })
}

async fn poem_server(events: Sender<std::sync::Arc<str>>, tuned: bool) {
    let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.expect("a port");
    let address = acceptor.local_addr().remove(0);
    println!("{}", address.as_socket_addr().expect("TCP").port());
    let app = Route::new().at("/ws", get(poem_ws)).data((events, tuned));
    Server::new_with_acceptor(acceptor).run(app).await.expect("serves");
}
