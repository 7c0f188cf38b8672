//! How the program of each language is built, with what the machine has.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Language {
    Go,
    Python,
    Node,
    Java,
}

impl Language {
    pub(crate) const ALL: [Self; 4] = [Self::Go, Self::Python, Self::Node, Self::Java];

    /// Also the folder of its program and the tenant that it fills.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Python => "python",
            Self::Node => "node",
            Self::Java => "java",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Go => "Go",
            Self::Python => "Python",
            Self::Node => "Node",
            Self::Java => "Java",
        }
    }

    /// The files that docs/clients.md leads to, beside the program that is made of them.
    pub(crate) fn listings(self) -> &'static [&'static str] {
        match self {
            Self::Go => &["calls.go"],
            Self::Python => &["calls.py"],
            Self::Node => &["calls.mjs", "connect.ts"],
            Self::Java => &["src/main/java/Calls.java"],
        }
    }

    /// What it takes to build and run it.
    fn tools(self) -> &'static [&'static str] {
        match self {
            Self::Go => &["go", "buf"],
            Self::Python => &["python3"],
            Self::Node => &["node", "npm", "buf"],
            Self::Java => &["java", "mvn"],
        }
    }

    /// Those that are wanted and can be built here. With `CI=true` all have to be.
    pub(crate) fn here() -> Result<Vec<Self>> {
        let wanted = std::env::var("ROLLCALL_CLIENTS").ok();
        let is_wanted = |language: &Self| match &wanted {
            Some(wanted) => wanted.split(',').any(|id| id == language.id()),
            None => true,
        };
        let mut here = Vec::new();
        for language in Self::ALL.into_iter().filter(is_wanted) {
            let missing = language.tools().iter().find(|tool| !is_here(tool));
            match missing {
                None => here.push(language),
                Some(tool) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => {
                    bail!("the client in {} needs {tool}", language.name())
                }
                // Past the capture of the test harness.
                Some(tool) => writeln!(
                    std::io::stderr(),
                    "SKIPPED: the client in {} ({tool} is missing)",
                    language.name()
                )?,
            }
        }
        Ok(here)
    }

    /// Generates and builds below `target/`, unless that was done with the same contract and the same sources.
    pub(crate) fn build(self) -> Result<Command> {
        let place = root().join("target/clients").join(self.id());
        let inputs = [root().join("proto"), sources(), sources().join(self.id())];
        let mut hash = DefaultHasher::new();
        for folder in inputs {
            hash_files(&folder, &mut hash)?;
        }
        let stamp = format!("{:016x}", hash.finish());
        if std::fs::read_to_string(place.join("built")).is_ok_and(|built| built == stamp) {
            return Ok(self.program(&place));
        }
        // From nothing, so that what an earlier contract left behind is in nobody's way.
        if place.exists() {
            std::fs::remove_dir_all(&place)?;
        }
        for folder in [sources(), sources().join(self.id())] {
            copy_files(&folder, &place)?;
        }
        let log = place.join("build.log");
        let mut output = std::fs::File::create(&log)?;
        for step in self.steps() {
            writeln!(output, "+ {step}")?;
            let status = command("bash", &place)
                .args(["-euo", "pipefail", "-c", &step])
                .stdin(Stdio::null())
                .stdout(output.try_clone()?)
                .stderr(output.try_clone()?)
                .status()?;
            if !status.success() {
                let log = std::fs::read_to_string(&log)?;
                bail!("the client in {} cannot be built:\n{log}", self.name());
            }
        }
        std::fs::write(place.join("built"), stamp)?;
        Ok(self.program(&place))
    }

    /// Shell commands within the folder that holds the program's sources.
    pub(crate) fn steps(self) -> Vec<String> {
        let proto = root().join("proto");
        let proto = proto.display();
        match self {
            Self::Go => vec![
                "go build -o bin/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc".to_owned(),
                format!("PATH=$PWD/bin:$PATH buf generate {proto} --template {proto}/buf.gen.go.yaml --path {proto}/rollcall"),
                "go build -o client .".to_owned(),
            ],
            Self::Python => vec![
                "python3 -m venv venv && venv/bin/pip install -q -r requirements.txt".to_owned(),
                format!("mkdir -p gen && venv/bin/python -m grpc_tools.protoc -I {proto} --python_out=gen --pyi_out=gen --grpc_python_out=gen {proto}/rollcall/v1/*.proto"),
            ],
            Self::Node => vec![
                "npm ci --silent --no-fund --no-audit".to_owned(),
                format!("PATH=$PWD/node_modules/.bin:$PATH buf generate {proto} --template {proto}/buf.gen.node.yaml --path {proto}/rollcall --path {proto}/google/rpc --include-imports"),
                "node_modules/.bin/tsc".to_owned(),
            ],
            Self::Java => vec![format!(
                "mvn -q -B compile dependency:build-classpath -Dmdep.outputFile=classpath -Dproto={proto}"
            )],
        }
    }

    fn program(self, place: &Path) -> Command {
        let program = match self {
            Self::Go => place.join("client").display().to_string(),
            Self::Python => place.join("venv/bin/python").display().to_string(),
            Self::Node => "node".to_owned(),
            Self::Java => "bash".to_owned(),
        };
        let mut program = command(&program, place);
        match self {
            Self::Go => &mut program,
            Self::Python => program.arg("client.py").env("PYTHONPATH", place.join("gen")),
            Self::Node => program
                .arg("client.mjs")
                .env("ROLLCALL_PROTO", root().join("proto")),
            Self::Java => program.args(["-c", "exec java -cp target/classes:$(cat classpath) Client"]),
        };
        program
    }
}

pub(crate) fn sources() -> PathBuf {
    root().join("tests/clients")
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// With Go's usual place and the tools of `tests/run` in the path.
fn command(program: &str, place: &Path) -> Command {
    let tools = root().join("target/tools/node_modules/.bin");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command
        .current_dir(place)
        .env("PATH", format!("{}:{path}:/usr/local/go/bin", tools.display()))
        .env_remove("GOFLAGS");
    command
}

fn is_here(tool: &str) -> bool {
    command("bash", Path::new("/"))
        .args(["-c", &format!("command -v {tool}")])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<PathBuf> = read
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    files.retain(|file| file.extension().is_none_or(|extension| extension != "rs"));
    files.sort();
    Ok(files)
}

fn hash_files(folder: &Path, hash: &mut DefaultHasher) -> Result<()> {
    for file in files(folder)? {
        if file.is_dir() {
            if !folder.ends_with("clients") {
                hash_files(&file, hash)?;
            }
        } else {
            (file.file_name(), std::fs::read(&file)?).hash(hash);
        }
    }
    Ok(())
}

fn copy_files(folder: &Path, place: &Path) -> Result<()> {
    std::fs::create_dir_all(place)?;
    for file in files(folder)? {
        let copy = place.join(file.file_name().context("no name")?);
        if file.is_file() {
            std::fs::copy(&file, copy)?;
        } else if !folder.ends_with("clients") {
            copy_files(&file, &copy)?;
        }
    }
    Ok(())
}
