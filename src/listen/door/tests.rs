//! Tests of the door.

use super::*;

#[test]
fn a_connection_that_is_used_by_one_client_at_a_time_is_open_for_the_last() {
    let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let mut users = Users::Clients(SmallVec::from_elem(one, 1));
    users.add(other, true);
    assert!(matches!(&users, Users::Clients(clients) if clients.as_slice() == [other]));
}

#[test]
fn a_shared_connection_is_open_for_all_its_clients_and_then_for_anybody() {
    let mut users = Users::Clients(SmallVec::new());
    for last in 0..limits::CONNECTION_USERS {
        users.add(IpAddr::from([192, 0, 2, last as u8]), false);
        users.add(IpAddr::from([192, 0, 2, 0]), false);
    }
    assert!(matches!(&users, Users::Clients(clients) if clients.len() == limits::CONNECTION_USERS));
    users.add(IpAddr::from([192, 0, 3, 1]), false);
    assert!(matches!(users, Users::Anybody));
}
