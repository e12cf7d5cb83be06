//! What a client can find out about a server without knowing it: health and reflection.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use combdb_tests::{Peer, PeerOptions};
use tokio_stream::StreamExt;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

const SERVICES: [&str; 7] = [
    "combdb.v1.Collections",
    "combdb.v1.Conflicts",
    "combdb.v1.Databases",
    "combdb.v1.Documents",
    "combdb.v1.Peers",
    "combdb.v1.Tickets",
    "combdb.v1.Writers",
];

#[tokio::test]
async fn every_service_is_healthy() {
    let peer = Peer::start(COMBDB, &PeerOptions::default());
    let mut health = HealthClient::new(peer.calls().await.channel);
    for service in SERVICES.into_iter().chain([""]) {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
        assert_eq!(answer.into_inner().status, 1, "{service} is not serving");
    }
}

#[tokio::test]
async fn reflection_lists_the_services_and_describes_them() {
    use v1::server_reflection_request::MessageRequest;
    use v1::server_reflection_response::MessageResponse;

    let peer = Peer::start(COMBDB, &PeerOptions::default());
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(peer.calls().await.channel);
    let requests = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("combdb.v1.Documents".into()),
    ]
    .map(|request| v1::ServerReflectionRequest { host: String::new(), message_request: Some(request) });
    let mut answers = client.server_reflection_info(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        answers.next().await.unwrap().unwrap().message_response
    else {
        panic!("no list")
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for service in SERVICES {
        assert!(names.iter().any(|name| name == service), "{service} is not in {names:?}");
    }
    let answer = answers.next().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::FileDescriptorResponse(file)) = answer else { panic!("no file: {answer:?}") };
    assert!(!file.file_descriptor_proto.is_empty());
}

#[tokio::test]
async fn the_older_reflection_answers_too() {
    use v1alpha::server_reflection_request::MessageRequest;
    use v1alpha::server_reflection_response::MessageResponse;

    let peer = Peer::start(COMBDB, &PeerOptions::default());
    let mut client =
        v1alpha::server_reflection_client::ServerReflectionClient::new(peer.calls().await.channel);
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers =
        client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response;
    assert!(matches!(answer, Some(MessageResponse::ListServicesResponse(list)) if list.service.len() >= 6));
}
