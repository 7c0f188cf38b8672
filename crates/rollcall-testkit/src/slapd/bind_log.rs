use super::Slapd;
use anyhow::Result;

/// A simple bind that reached the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// The name that was sent, as the server writes it.
    pub dn: String,
    /// The connection's number; equal numbers mean one connection.
    pub connection: u64,
    /// The result code, once the server has noted it, which may be just after the client reads its answer.
    pub result: Option<u32>,
}

impl Slapd {
    /// Every bind that reached this server, in order, anonymous ones too; without the admin's, which are the
    /// testkit's own. A bind is noted before it is answered.
    pub fn binds(&self) -> Result<Vec<Bind>> {
        let log = std::fs::read(self.log_file())?;
        let mut binds = parse(&String::from_utf8_lossy(&log));
        binds.retain(|bind| bind.dn != self.admin_dn());
        Ok(binds)
    }

    /// How many binds with this DN reached the server, letter case aside. Escapes count as the server writes
    /// them (`\2C` for a comma).
    pub fn bind_count(&self, dn: &str) -> Result<usize> {
        Ok(self
            .binds()?
            .iter()
            .filter(|bind| bind.dn.to_lowercase() == dn.to_lowercase())
            .count())
    }
}

fn parse(log: &str) -> Vec<Bind> {
    let mut binds: Vec<(u64, u64, Bind)> = Vec::new();
    for line in log.lines() {
        let Some((connection, operation, rest)) = operation_line(line) else {
            continue;
        };
        if let Some(bind) = rest.strip_prefix("BIND dn=\"") {
            // The second line of a successful bind says `mech=` in place of `method=`.
            if let Some((dn, _)) = bind.rsplit_once("\" method=") {
                let bind = Bind {
                    dn: dn.to_owned(),
                    connection,
                    result: None,
                };
                binds.push((connection, operation, bind));
            }
        } else if let Some(result) = rest.strip_prefix("RESULT tag=97 err=") {
            let code = result.split(' ').next().and_then(|code| code.parse().ok());
            let open = binds
                .iter_mut()
                .rev()
                .find(|(c, o, _)| (*c, *o) == (connection, operation));
            if let Some((_, _, bind)) = open {
                bind.result = code;
            }
        }
    }
    binds.into_iter().map(|(_, _, bind)| bind).collect()
}

/// Splits `6563c0de.0a1b2c3d 0x7f.. conn=1000 op=0 REST`.
fn operation_line(line: &str) -> Option<(u64, u64, &str)> {
    let (_, line) = line.split_once("conn=")?;
    let (connection, line) = line.split_once(" op=")?;
    let (operation, rest) = line.split_once(' ')?;
    Some((connection.parse().ok()?, operation.parse().ok()?, rest))
}
