use super::*;

#[test]
fn heads_are_in_their_shortest_form() {
    for (len, expected) in [
        (0, &[0x81, 0][..]),
        (125, &[0x81, 125]),
        (126, &[0x81, 126, 0, 126]),
        (0xffff, &[0x81, 126, 0xff, 0xff]),
        (0x10000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let (head, start) = head(TEXT, len);
        assert_eq!(&head[start..], expected, "{len}");
    }
}

#[test]
fn a_close_reason_is_cut_at_a_character() {
    let frame = close_frame(Some(1000), &"ü".repeat(100));
    assert_eq!(frame.len(), 2 + 2 + 122);
    assert!(std::str::from_utf8(&frame[4..]).is_ok());
    assert_eq!(close_frame(None, "unsaid")[..], [0x88, 0]);
}

#[test]
fn what_clients_frame_is_decoded_at_every_length() {
    for len in [0, 1, 3, 4, 5, 125, 126, 127, 0xffff, 0x10000, 70_000] {
        let payload = "x".repeat(len);
        let mut data = masked(0x81, payload.as_bytes());
        let mut at = 0;
        let got = Decoder::default().next(&mut data, &mut at, 70_000);
        assert_eq!(got, Ok(Some(Incoming::Text(payload.into()))), "{len}");
        assert_eq!(at, data.len());
    }
}

/// A stream of frames, cut anywhere: the part before the cut gives a prefix of what the whole gives, and the decoder
/// goes on from there.
#[test]
fn every_truncation_waits_for_the_rest() {
    let whole = [
        masked(0x81, b"one"),
        masked(0x01, b"t"),
        masked(0x89, b"ping"),
        masked(0x00, b"w"),
        masked(0x80, b"o"),
        masked(0x82, &[7; 300]),
        masked(0x8a, b""),
        masked(0x88, &[3, 232]),
    ]
    .concat();
    let all = |decoder: &mut Decoder, data: &mut [u8], at: &mut usize| {
        let mut got = Vec::new();
        while let Some(incoming) = decoder.next(data, at, 1000).expect("good frames") {
            got.push(format!("{incoming:?}"));
        }
        got
    };
    let expected = all(&mut Decoder::default(), &mut whole.clone(), &mut 0);
    assert_eq!(expected.len(), 6);
    for cut in 0..whole.len() {
        let (mut decoder, mut at) = (Decoder::default(), 0);
        let mut got = all(&mut decoder, &mut whole[..cut].to_vec(), &mut at);
        assert!(at <= cut);
        let mut rest = whole[at..].to_vec();
        got.extend(all(&mut decoder, &mut rest, &mut 0));
        assert_eq!(got, expected, "cut at {cut}");
    }
}

#[test]
fn noise_never_panics_and_never_runs_ahead() {
    let mut x = 88_172_645_463_325_252u64;
    for _ in 0..20_000 {
        let mut data: Vec<u8> = Vec::new();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        for i in 0..x % 40 {
            data.push((x >> (i % 8 * 8)) as u8 ^ (i as u8).wrapping_mul(31));
        }
        if x & 1 == 0 && data.len() > 1 {
            // Likely enough a head.
            data[0] &= 0x8f;
            data[1] |= 0x80;
        }
        let (mut decoder, mut at, mut steps) = (Decoder::default(), 0, 0);
        while let Ok(Some(_)) = decoder.next(&mut data, &mut at, 64) {
            steps += 1;
            assert!(at <= data.len() && steps < 40);
        }
    }
}
