//! A NATS cluster of three servers on this machine. The benchmark uses it as well.

use std::{
    fs, io,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

/// Three servers of one cluster.
pub struct Cluster {
    directory: TempDir,
    ports: [u16; 3],
    processes: [Child; 3],
}

impl Cluster {
    /// Starts the servers with empty stores. They elect a leader within some seconds.
    pub fn start() -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        // All bound at once, so that the ports differ.
        let free: Vec<_> = (0..6)
            .map(|_| TcpListener::bind("127.0.0.1:0"))
            .collect::<Result<_, _>>()?;
        let ports: Vec<_> = free
            .iter()
            .map(|listener| Ok(listener.local_addr()?.port()))
            .collect::<io::Result<_>>()?;
        let (clients, routes) = ([ports[0], ports[1], ports[2]], &ports[3..]);
        drop(free);
        let all = routes.iter().map(|port| format!("nats://127.0.0.1:{port}"));
        let all = all.collect::<Vec<_>>().join(", ");
        for (index, (client, route)) in clients.iter().zip(routes).enumerate() {
            let store = directory.path().join(format!("store-{index}"));
            let settings = format!(
                "server_name: server-{index}\nlisten: 127.0.0.1:{client}\n\
                 jetstream {{ store_dir: \"{}\" }}\n\
                 cluster {{ name: three, listen: 127.0.0.1:{route}, routes: [{all}] }}\n",
                store.display()
            );
            fs::write(conf(directory.path(), index), settings)?;
        }
        let server = |index| spawn(directory.path(), index);
        let processes = [server(0)?, server(1)?, server(2)?];
        Ok(Self {
            directory,
            ports: clients,
            processes,
        })
    }

    /// The addresses of all three, separated by commas.
    pub fn url(&self) -> String {
        self.ports
            .map(|port| format!("nats://127.0.0.1:{port}"))
            .join(",")
    }

    /// Kills one server with SIGKILL.
    pub fn kill(&mut self, index: usize) -> io::Result<()> {
        self.processes[index].kill()?;
        self.processes[index].wait().map(drop)
    }

    /// Starts a killed server again on its store.
    pub fn restart(&mut self, index: usize) -> io::Result<()> {
        self.processes[index] = spawn(self.directory.path(), index)?;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn conf(directory: &Path, index: usize) -> std::path::PathBuf {
    directory.join(format!("server-{index}.conf"))
}

fn spawn(directory: &Path, index: usize) -> io::Result<Child> {
    let program = std::env::var("NATS_SERVER").unwrap_or_else(|_| "nats-server".to_owned());
    Command::new(program)
        .arg("--config")
        .arg(conf(directory, index))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
