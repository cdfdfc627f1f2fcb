//! CPU of the hub per delivered frame where there are very many channels, against one channel with all connections on it.

use rowcast::domain::ChannelName;

use super::Result;
use super::bare::{Bare, frame_bytes};
use super::measure::{middle, own_cpu_ns, pin};

const CONNECTIONS: usize = 1000;
const ROUNDS: usize = 150;
const TARGET: f64 = 1.20;

/// Who listens to what, and what one round sends: one frame to each connection.
struct Scene {
    name: &'static str,
    bare: Bare,
    channels: Vec<ChannelName>,
    round: fn(usize, &[ChannelName]) -> Vec<&ChannelName>,
}

pub fn run() -> Result<()> {
    pin(0);
    let mut scenes = [
        scene("1 channel, 1,000 subscribers", 1, |_, _| 0, |_, all| vec![&all[0]])?,
        scene(
            "100,000 channels, one subscriber each; 1,000 of them have an event",
            100,
            |conn, n| conn * 100 + n,
            |round, all| all.chunks(100).map(|own| &own[round % 100]).collect(),
        )?,
        scene(
            "1,000 channels on each of 1,000 connections; one has an event",
            1000,
            |_, n| n,
            |round, all| vec![&all[round * 7 % 1000]],
        )?,
    ];
    println!(
        "\nCPU ns per delivered frame, {CONNECTIONS} connections; ratio to the first line: median (middle half)\n"
    );
    println!("| what | ns | x one channel | target |\n|---|---|---|---|");
    let bytes = frame_bytes(&name(0)?);
    let mut costs = vec![Vec::with_capacity(ROUNDS); scenes.len()];
    for round in 0..ROUNDS + 3 {
        for (scene, costs) in scenes.iter_mut().zip(&mut costs) {
            let channels: Vec<ChannelName> = (scene.round)(round, &scene.channels).into_iter().cloned().collect();
            scene.bare.clients.expect_bytes(bytes * CONNECTIONS)?;
            let before = own_cpu_ns()?;
            scene.bare.dispatch(channels.iter());
            scene.bare.clients.answer()?;
            if round >= 3 {
                costs.push((own_cpu_ns()? - before) as f64 / CONNECTIONS as f64);
            }
        }
    }
    for (scene, own) in scenes.iter().zip(&costs) {
        let ratios: Vec<f64> = own.iter().zip(&costs[0]).map(|(a, b)| a / b).collect();
        println!("| {} | {:.0} | {} | {TARGET:.2} |", scene.name, middle(own).median, middle(&ratios));
    }
    Ok(())
}

/// `which` names the n-th channel of a connection.
fn scene(
    title: &'static str,
    channels_each: usize,
    which: fn(usize, usize) -> usize,
    round: fn(usize, &[ChannelName]) -> Vec<&ChannelName>,
) -> Result<Scene> {
    let mut bare = Bare::start(CONNECTIONS, 1)?;
    bare.clients.ready()?;
    let most = which(CONNECTIONS - 1, channels_each - 1);
    let channels = (0..=most).map(name).collect::<Result<Vec<_>>>()?;
    for (conn, id) in bare.conns.iter().enumerate() {
        for n in 0..channels_each {
            bare.subscribe(*id, &channels[which(conn, n)])?;
        }
        bare.settle();
    }
    Ok(Scene { name: title, bare, channels, round })
}

/// All of one length, so that their frames are.
fn name(n: usize) -> Result<ChannelName> {
    Ok(ChannelName::new(&format!("orders:{:06}", n + 100_000))?)
}
