//! A directory that knows the world's people and answers as a test likes.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollcall_core::directory::{HostUrl, TransportSecurity};
use rollcall_core::id::Uuid;
use rollcall_testkit::{Operation, Peer, Request, ScriptedLdap, ber};

use super::World;

impl World {
    /// Puts a script in the directory's place. Where `answer` has none, binds succeed and the people are found.
    pub(crate) async fn follow_script(
        &mut self,
        answer: impl Fn(&Request) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) {
        let mut people = BTreeMap::new();
        for login in ["ada", "bob", "eve"] {
            let origin = self.user(login).await.origin.unwrap();
            let id = Uuid::from_slice(origin.external_id.bytes()).unwrap();
            people.insert(origin.dn, id.to_string());
        }
        let (people, answer) = (Arc::new(people), Arc::new(answer));
        let serve = move |mut peer: Peer| {
            let (people, answer) = (people.clone(), answer.clone());
            async move {
                while let Some(request) = peer.receive().await? {
                    let own = answer(&request);
                    let bytes = match &request.operation {
                        _ if own.is_some() => own.unwrap_or_default(),
                        Operation::Bind { .. } => ber::bind_response(request.id, 0, "", ""),
                        Operation::Search { base, .. } => {
                            let found = people.get_key_value(base).map(|(dn, id)| {
                                let values: &[&[u8]] = &[id.as_bytes()];
                                ber::search_entry(request.id, dn, &[("entryUUID", values)])
                            });
                            [found.unwrap_or_default(), ber::search_done(request.id, 0, "")].concat()
                        }
                        _ => return Ok(()),
                    };
                    peer.send(&bytes).await?;
                }
                Ok(())
            }
        };
        let server = ScriptedLdap::plain(serve).await.unwrap();
        let host = HostUrl::parse(&format!("ldap://{}", server.address())).unwrap();
        self.update_directory(|settings| {
            settings.hosts = vec![host];
            settings.transport_security = TransportSecurity::Plaintext;
            settings.allow_plaintext = true;
        })
        .await;
        self.keep(server);
    }
}
