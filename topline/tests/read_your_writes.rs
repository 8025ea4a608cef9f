//! What a client has been told is taken, it can read; and it is told how old an answer is.

mod common;

use common::{QUIET, Server, purchase_path};

#[test]
fn a_get_at_a_position_has_everything_before_it() {
    let data = tempfile::tempdir().unwrap();
    let args = [&QUIET[..], &["--wait-timeout", "200ms"]].concat();
    let server = Server::start(data.path(), &args);
    for (number, store) in (1..=50).zip([7, 8, 9, 10, 11].into_iter().cycle()) {
        let answer = server.post(
            &purchase_path(store, "20210101"),
            r#"{"items":[{"ItemID":5,"numberOfItems":1}]}"#,
        );
        let position = answer.header("topline-position").unwrap().to_owned();
        let (partition, next) = position.split_once(':').unwrap();
        let read = server.get_at("/v1/top-items", &position);
        assert_eq!(read.json()["items"][0]["quantity"], number);
        let seen = read.header("topline-position").unwrap();
        assert_eq!(read.json()["asOf"]["position"], seen);
        let of_partition = seen.split(',').find_map(|part| {
            part.split_once(':').filter(|part| part.0 == partition).map(|part| part.1)
        });
        let of_partition: u64 = of_partition.unwrap().parse().unwrap();
        assert!(of_partition >= next.parse().unwrap(), "{seen} is before {position}");
        // A fresh answer is never too old.
        let fresh = [("Topline-Wait-For", &*position), ("Topline-Max-Staleness", "0")];
        assert_eq!(server.request("GET", "/items/top10/5", &fresh, b"").status, 200);
    }

    let later = server.get_at("/items/top10/5", "0:1000000");
    let (status, message) = later.error();
    assert_eq!((status, later.header("retry-after")), (503, Some("1")));
    assert!(
        message.starts_with("Topline-Wait-For: partition 0 has been applied up to"),
        "{message}"
    );
    for (name, value, message) in [
        (
            "Topline-Wait-For",
            "9:1",
            "Topline-Wait-For: there is no partition 9: the partitions are 0 to 3",
        ),
        (
            "Topline-Wait-For",
            "x",
            "Topline-Wait-For: 'x' is not a position: expected partition:offset pairs such as 0:118,3:97",
        ),
        (
            "Topline-Max-Staleness",
            "1s",
            "Topline-Max-Staleness: '1s' is not a whole number of 0 or more (milliseconds)",
        ),
    ] {
        let answer = server.request("GET", "/items/top10/5", &[(name, value)], b"");
        assert_eq!(answer.error(), (400, message.to_owned()));
    }
}
