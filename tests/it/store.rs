//! An S3 store for tests, which checks signatures and keeps objects as files, and before it a door that can be made to
//! misbehave.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;

pub const ACCESS_KEY: &str = "AKIAHAPPYCOWS";
pub const SECRET_KEY: &str = "mooo/0123456789+secret";

/// What the door does to connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// Closes so many connections after so many bytes of a request.
    Cut { bytes: usize, times: usize },
    /// Answers so many requests by itself: status and S3's code.
    Answer { status: &'static str, code: &'static str, times: usize },
    /// Lets a request through at so many bytes a second.
    Slow(u32),
    /// Closes every connection at once.
    Shut,
}

/// A store with a bucket `cows`.
pub struct Store {
    pub folder: tempfile::TempDir,
    door: SocketAddr,
    fault: Arc<Mutex<Fault>>,
    _runtime: tokio::runtime::Runtime,
}

impl Store {
    pub fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("cows")).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        let fault = Arc::new(Mutex::new(Fault::None));
        let door = open_door(address, Arc::clone(&fault));
        Store { folder, door, fault, _runtime: runtime }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.door)
    }

    pub fn misbehave(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// The files of all objects below a key.
    pub fn objects(&self, below: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().join("cows").join(below)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    found.push(entry.path());
                }
            }
        }
        found.sort();
        found
    }
}

fn open_door(behind: SocketAddr, fault: Arc<Mutex<Fault>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for guest in listener.incoming().flatten() {
            let fault = Arc::clone(&fault);
            std::thread::spawn(move || serve(guest, behind, &fault));
        }
    });
    address
}

/// One connection, from the store's answers on untouched.
fn serve(mut guest: TcpStream, behind: SocketAddr, fault: &Mutex<Fault>) {
    if *fault.lock().unwrap() == Fault::Shut {
        return;
    }
    let Ok(mut store) = TcpStream::connect(behind) else { return };
    let (mut answers, mut to_guest) = (store.try_clone().unwrap(), guest.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut answers, &mut to_guest);
        let _ = to_guest.shutdown(Shutdown::Both);
    });
    let (mut buffer, mut passed) = ([0; 16 * 1024], 0);
    while let Ok(count @ 1..) = guest.read(&mut buffer) {
        let now = fault.lock().unwrap().clone();
        match now {
            Fault::None => {}
            Fault::Shut => break,
            Fault::Slow(rate) => {
                std::thread::sleep(Duration::from_secs(1) * u32::try_from(count).unwrap() / rate);
            }
            Fault::Cut { bytes, .. } if passed + count < bytes => {}
            Fault::Cut { bytes, times } => {
                *fault.lock().unwrap() =
                    if times > 1 { Fault::Cut { bytes, times: times - 1 } } else { Fault::None };
                break;
            }
            Fault::Answer { status, code, times } => {
                *fault.lock().unwrap() =
                    if times > 1 { Fault::Answer { status, code, times: times - 1 } } else { Fault::None };
                let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
                let length = body.len();
                let _ = write!(
                    guest,
                    "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\
                     Connection: close\r\n\r\n{body}"
                );
                break;
            }
        }
        passed += count;
        if store.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = guest.shutdown(Shutdown::Both);
    let _ = store.shutdown(Shutdown::Both);
}
