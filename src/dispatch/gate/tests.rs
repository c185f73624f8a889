use super::*;

fn limits(in_flight: usize) -> Limits {
    Limits {
        per_second: 1e9,
        in_flight,
        find_batch: 1,
        change_batch: 1,
        tries: 3,
        timeout: Duration::from_secs(1),
        backoff_min: Duration::from_millis(250),
        backoff_max: Duration::from_secs(8),
        answer_bytes_max: 1,
        settling: Duration::ZERO,
    }
}

fn gate(in_flight: usize) -> Rc<Gate> {
    Gate::new("test".to_owned(), &limits(in_flight), Arc::default())
}

fn permit(gate: &Rc<Gate>) -> Permit {
    gate.grant(Instant::now(), 1).expect("the gate is open")
}

/// D2, D3: an allowance is kept by requests that count as several, too.
#[test]
fn a_heavy_request_uses_up_the_allowance_of_all_that_it_counts_for() {
    let limits = Limits { per_second: 20.0, ..limits(1) };
    let gate = Gate::new("test".to_owned(), &limits, Arc::default());
    let begun = Instant::now();
    drop(gate.grant(begun, 5).expect("the gate is open"));
    assert!(gate.grant(begun + Duration::from_millis(249), 1).is_none());
    assert_eq!(gate.state.borrow().not_before, Some(begun + Duration::from_millis(250)));
}

#[test]
fn trouble_halves_once_for_all_under_way_and_success_grows_slowly() {
    let gate = gate(8);
    let permits: Vec<_> = (0..8).map(|_| permit(&gate)).collect();
    assert!(gate.grant(Instant::now(), 1).is_none());
    for permit in &permits {
        gate.slow(permit, Some(Duration::ZERO));
    }
    assert_eq!(gate.state.borrow().limit, 4);
    for _ in 0..4 {
        gate.success(&permits[0]);
    }
    assert_eq!(gate.state.borrow().limit, 5);
}

#[test]
fn half_of_the_last_fifty_open_the_breaker_and_one_success_closes_it() {
    let gate = gate(100);
    for _ in 0..25 {
        gate.success(&permit(&gate));
    }
    let permits: Vec<_> = (0..25).map(|_| permit(&gate)).collect();
    for permit in &permits[..24] {
        assert_eq!(gate.failure(permit, "503"), Failed::Counted);
    }
    assert_eq!(gate.failure(&permits[24], "503"), Failed::Out { ask: false });
    drop(permits);
    assert!(gate.grant(Instant::now(), 1).is_none());
    let probe = gate.grant(Instant::now() + Duration::from_secs(1), 1).unwrap();
    assert!(probe.probe && gate.grant(Instant::now() + Duration::from_secs(1), 1).is_none());
    gate.success(&probe);
    assert_eq!((gate.state.borrow().out.is_none(), gate.state.borrow().limit), (true, 1));
}

/// D4.
#[test]
fn a_request_that_fails_alone_is_told_from_one_among_many() {
    let alone = gate(100);
    for _ in 0..8 {
        alone.success(&permit(&alone));
    }
    for _ in 0..5 {
        alone.failure(&permit(&alone), "500");
    }
    assert!(!alone.others_fail(5));
    let many = gate(100);
    for round in 0..60 {
        let permit = many.grant(Instant::now() + Duration::from_secs(1), 1).unwrap();
        if round % 2 == 0 {
            many.success(&permit);
        } else {
            many.failure(&permit, "503");
        }
    }
    assert!(many.others_fail(5));
}

#[test]
fn probes_come_ever_more_rarely() {
    let gate = gate(1);
    gate.outage(None, "no route".to_owned());
    let mut now = Instant::now();
    let mut intervals = Vec::new();
    for _ in 0..9 {
        now += PROBE_MAX;
        let probe = gate.grant(now, 1).unwrap();
        gate.failure(&probe, "no route");
        intervals.push(gate.state.borrow().out.as_ref().unwrap().interval.as_millis());
    }
    assert_eq!(intervals, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
}

#[test]
fn a_pause_of_ten_years_is_an_outage_that_is_asked_about_after_a_quarter_of_an_hour() {
    let gate = gate(1);
    gate.slow(&permit(&gate), Some(Duration::from_hours(10 * 365 * 24)));
    assert!(gate.shared.out.lock().unwrap().as_ref().unwrap().0.contains("years"));
    assert!(gate.grant(Instant::now() + (SLOW_MAX / 2), 1).is_none());
    assert!(gate.grant(Instant::now() + SLOW_MAX, 1).is_some_and(|permit| permit.probe));
}

#[test]
fn pauses_without_a_time_double() {
    let gate = gate(2);
    let (first, second) = (permit(&gate), permit(&gate));
    gate.slow(&first, None);
    gate.slow(&second, None);
    assert_eq!(gate.state.borrow().slow, Duration::from_secs(2), "sent together: once");
    drop((first, second));
    let later = gate.grant(Instant::now() + Duration::from_secs(2), 1).unwrap();
    gate.slow(&later, None);
    assert_eq!(gate.state.borrow().slow, Duration::from_secs(4));
}
