//! `mobileight pull` against a web server of our own: what it fetches, continues, refuses, and says.

mod common;
#[path = "pull/server.rs"]
mod server;
#[path = "pull/setting.rs"]
mod setting;

use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;
use std::slice;
use std::thread;
use std::time::{Duration, Instant};

use common::{fails, kill, shared, text};
use serde_json::{Value, json};
use server::{Server, send, send_with, status};
use setting::{Folder, NOBODY, archived, cut_off, hash, mobileight, model, plain, tgz, zip};

#[test]
fn models_are_fetched_once_and_work_offline_then() {
    for pins in [&["sha256"][..], &["archive_sha256"], &["sha256", "archive_sha256"]] {
        let folder = Folder::new(&format!("once-{}", pins.concat()));
        let (archive, entry) = archived(pins);
        let server = Server::of(archive);
        let path = folder.model("model.tflite");
        let (out, message) = folder.succeed(&entry, &server.url());
        assert_eq!(out, format!("{}\n", path.display()));
        assert!(message.contains(&format!("{}/some/path/model.tgz", server.url())), "{message}");
        assert_eq!(fs::read(&path).unwrap(), model());
        assert!(folder.is_tidy());
        // The other members are nowhere.
        assert!(
            !folder.path("escape.tflite").exists()
                && !folder.0.with_file_name("escape.tflite").exists()
        );
        let again = folder.succeed(&entry, NOBODY);
        assert_eq!(again, (out, String::new()));
        assert_eq!(server.log(), ["/some/path/model.tgz"]);
        let inspect = mobileight().arg("inspect").arg(&path).output().unwrap();
        assert!(text(&inspect.stdout).contains("CONV_2D"));
    }
}

#[test]
fn plain_files_and_zip_archives_serve_too() {
    let folder = Folder::new("plain");
    let (body, entry) = plain();
    let server = Server::of(body.clone());
    folder.succeed(&entry, &server.url());
    assert_eq!(fs::read(folder.model("model.tflite")).unwrap(), body);
    assert_eq!(server.log(), ["/plain.tflite?generation=1"]);

    let folder = Folder::new("zip");
    let archive = zip(&[("a/labels.txt", b"no"), ("a/other.txt", b"cat\ndog\n")]);
    let entry = json!({
        "name": "model",
        "url": "http://models.example/labels.zip",
        "member": "other.txt",
        "archive_sha256": hash(&archive),
        "bytes": 8,
    });
    folder.succeed(&entry, &format!("{}/mirror/", Server::of(archive).url()));
    assert_eq!(fs::read(folder.model("model.txt")).unwrap(), b"cat\ndog\n");
    assert!(folder.is_tidy());
}

#[test]
fn answers_in_json_are_one_object_a_line() {
    let folder = Folder::new("json");
    let (archive, entry) = archived(&["sha256"]);
    let server = Server::of(archive);
    let arguments = ["model", "modle", "model", "--json"];
    let output = folder.pull(&[entry], &server.url(), &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let answers: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[0]["path"], folder.model("model.tflite").to_str().unwrap());
    assert_eq!(answers[0]["sha256"], hash(&model()));
    assert_eq!(answers[0]["bytes"], model().len());
    assert_eq!((&answers[0]["fetched"], &answers[2]["fetched"]), (&true.into(), &false.into()));
    assert_eq!(answers[1]["name"], "modle");
    assert!(answers[1]["error"].as_str().unwrap().contains("--list"));
    assert!(text(&output.stderr).contains("1 of 3"));
}

#[test]
fn broken_connections_are_continued_at_once() {
    let folder = Folder::new("continue");
    let (body, entry) = plain();
    let whole = body.clone();
    let server = Server::new(move |request, stream| {
        let end = if request.number == 0 { 700_000 } else { whole.len() };
        send_with(request, stream, &whole, "ETag: \"one\"\r\n", end)
    });
    let (_, message) = folder.succeed(&entry, &server.url());
    assert!(message.contains("continuing"), "{message}");
    assert_eq!(fs::read(folder.model("model.tflite")).unwrap(), body);
    let log = server.log();
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log[1].contains("bytes=") && !log[1].contains("bytes=0-"), "{log:?}");
    assert!(folder.is_tidy());
}

#[test]
fn what_a_server_that_went_away_gave_is_kept() {
    let folder = Folder::new("kept");
    let (body, entry) = plain();
    let whole = body.clone();
    let server = Server::new(move |request, stream| match request.number {
        0 => send_with(request, stream, &whole, "ETag: \"one\"\r\n", 400_000),
        // Headers, and no byte.
        _ => send_with(request, stream, &whole, "ETag: \"one\"\r\n", 0),
    });
    folder.fail(&entry, &server.url(), &["400000 bytes are kept", "again"]);
    let part = folder.download("model.tflite.part");
    assert_eq!(fs::read(&part).unwrap(), &body[..400_000]);
    assert_eq!(fs::read(folder.download("model.tflite.part.validator")).unwrap(), b"\"one\"");
    assert!(!folder.model("model.tflite").exists());

    let server = Server::of(body.clone());
    folder.succeed(&entry, &server.url());
    assert_eq!(server.log(), ["/plain.tflite?generation=1 bytes=400000-"]);
    assert_eq!(fs::read(folder.model("model.tflite")).unwrap(), body);
    assert!(folder.is_tidy());
}

#[test]
fn killed_downloads_go_on() {
    const SENT: usize = 700_000;
    let folder = Folder::new("kill-download");
    let (body, entry) = plain();
    let whole = body.clone();
    let server = Server::new(move |request, stream| {
        if request.number > 0 {
            return send(request, stream, &whole);
        }
        send_with(request, stream, &whole, "ETag: \"one\"\r\n", SENT)?;
        // More is to come until the client has gone.
        stream.read_exact(&mut [0])
    });
    let mut command = folder.pull(slice::from_ref(&entry), &server.url(), &["model"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let part = folder.download("model.tflite.part");
    let is_there = || fs::metadata(&part).is_ok_and(|part| part.len() > 0);
    assert!(kill(child, is_there), "it was done before");
    let kept = fs::read(&part).unwrap();
    assert!(!kept.is_empty() && kept.len() <= SENT && body.starts_with(&kept));
    assert!(!folder.model("model.tflite").exists(), "half a file under its final name");

    folder.succeed(&entry, &server.url());
    let path = "/plain.tflite?generation=1";
    assert_eq!(server.log(), [path.to_owned(), format!("{path} bytes={}-", kept.len())]);
    assert_eq!(fs::read(folder.model("model.tflite")).unwrap(), body);
    assert!(folder.is_tidy());
}

#[test]
fn killed_at_any_moment_no_half_file_is_left_under_its_name() {
    let archive = archived(&["archive_sha256"]);
    for (name, whole, (served, entry)) in
        [("plain", plain().0, plain()), ("archive", model(), archive)]
    {
        let folder = Folder::new(&format!("kill-{name}"));
        let server = Server::of(served);
        let path = folder.model("model.tflite");
        let mut command = folder.pull(slice::from_ref(&entry), &server.url(), &["model"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // Before it is fetched, while, and while it is verified and put in its place.
        for delay in (0..40).map(|step| Duration::from_micros(step * 500)) {
            let child = command.spawn().unwrap();
            let start = Instant::now();
            kill(child, || start.elapsed() >= delay);
            if let Ok(bytes) = fs::read(&path) {
                assert!(bytes == whole, "half a file of {} bytes after {delay:?}", bytes.len());
                fs::remove_file(&path).unwrap();
            }
        }
        folder.succeed(&entry, &server.url());
        assert!(fs::read(&path).unwrap() == whole);
        assert!(folder.is_tidy());
    }
}

#[test]
fn servers_that_do_not_continue_give_all_of_it() {
    // Without ranges; with another version; with less than is there already; with a range nobody asked for.
    for (name, answer) in [("none", 0), ("other", 1), ("short", 2), ("odd", 3)] {
        let folder = Folder::new(&format!("whole-{name}"));
        let (body, entry) = plain();
        let whole = body.clone();
        let server = Server::new(move |request, stream| match answer {
            0 => {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", whole.len())?;
                stream.write_all(&whole)
            }
            1 => send_with(request, stream, &whole, "ETag: \"two\"\r\n", whole.len()),
            2 if request.start() > 0 => status(stream, "416 Range Not Satisfiable", ""),
            3 if request.start() > 0 => {
                status(stream, "206 Partial Content", "Content-Range: bytes 5-9/10\r\n")
            }
            _ => send(request, stream, &whole),
        });
        cut_off(&folder, &[9; 500_000]);
        folder.succeed(&entry, &server.url());
        assert_eq!(fs::read(folder.model("model.tflite")).unwrap(), body, "{name}");
        assert!(server.log()[0].ends_with("bytes=400000-"));
        assert!(folder.is_tidy());
    }
}

#[test]
fn two_halves_that_do_not_fit_are_fetched_anew() {
    let folder = Folder::new("halves");
    let (body, entry) = plain();
    // A server without validators: it continues whatever it is asked for.
    let server = Server::new({
        let body = body.clone();
        move |request, stream| send_with(request, stream, &body, "", body.len())
    });
    folder.put(&folder.download("model.tflite.part"), &[9; 400_000]);
    let (_, message) = folder.succeed(&entry, &server.url());
    assert!(message.contains("fetching all of it"), "{message}");
    assert_eq!(fs::read(folder.model("model.tflite")).unwrap(), body);
    let path = "/plain.tflite?generation=1";
    assert_eq!(server.log(), [&format!("{path} bytes=400000-"), path]);
}

#[test]
fn a_download_that_was_complete_needs_no_network() {
    let folder = Folder::new("complete");
    let (body, entry) = plain();
    folder.put(&folder.download("model.tflite.part"), &body);
    folder.succeed(&entry, NOBODY);
    assert_eq!(fs::read(folder.model("model.tflite")).unwrap(), body);
    assert!(folder.is_tidy());
}

#[test]
fn other_bytes_than_the_catalog_names_are_refused() {
    let (body, entry) = plain();
    let mut other = body.clone();
    other[123_456] ^= 1;
    let folder = Folder::new("wrong");
    let (found, expected) = (hash(&other), hash(&body));
    let parts = [found.as_str(), &expected, "SHA-256"];
    folder.fail(&entry, &Server::of(other).url(), &parts);
    assert!(folder.is_tidy() && !folder.model("model.tflite").exists());

    let folder = Folder::new("wrong-archive");
    let (archive, entry) = archived(&["archive_sha256"]);
    let other = tgz(&[("model.tflite", &model())]);
    let (found, expected) = (hash(&other), hash(&archive));
    folder.fail(&entry, &Server::of(other).url(), &[&found, &expected]);
    assert!(folder.is_tidy() && !folder.model("model.tflite").exists());

    let folder = Folder::new("wrong-member");
    let (_, entry) = archived(&["sha256"]);
    let other = tgz(&[("model.tflite", b"something else")]);
    let (found, expected) = (hash(b"something else"), hash(&model()));
    folder.fail(&entry, &Server::of(other).url(), &["model.tflite", &found, &expected]);
    assert!(folder.is_tidy() && !folder.model("model.tflite").exists());
}

#[test]
fn archives_that_lie_are_refused() {
    let (archive, entry) = archived(&["sha256"]);
    let large = vec![0; 10 * model().len()];
    let mut zip_entry = entry.clone();
    zip_entry["url"] = "http://models.example/model.zip".into();
    for (name, archive, entry, part) in [
        ("cut", archive[..archive.len() / 2].to_vec(), &entry, "cut short"),
        ("noise", vec![0x5a; 4000], &entry, "damaged"),
        ("empty", Vec::new(), &entry, "damaged"),
        ("without", tgz(&[("other.tflite", &model())]), &entry, "no `model.tflite`"),
        ("large", tgz(&[("model.tflite", &large)]), &entry, "limit"),
        ("zip-noise", vec![0x5a; 4000], &zip_entry, "damaged"),
        ("zip-without", zip(&[("x", b"")]), &zip_entry, "no `model.tflite`"),
        ("zip-large", zip(&[("model.tflite", &large)]), &zip_entry, "limit"),
    ] {
        let folder = Folder::new(&format!("lie-{name}"));
        folder.fail(entry, &Server::of(archive).url(), &[part, "by hand"]);
        assert!(folder.is_tidy() && !folder.model("model.tflite").exists(), "{name}");
    }
}

#[test]
fn bodies_without_end_are_stopped() {
    let folder = Folder::new("endless");
    let (body, entry) = plain();
    let server = Server::new(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        loop {
            stream.write_all(&[0; 4096])?;
        }
    });
    let limit = (body.len() + body.len() / 4).to_string();
    folder.fail(&entry, &server.url(), &["more than", &limit]);
    assert!(folder.is_tidy());
    // Told beforehand, nothing of it is read.
    let server = Server::new(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n")
    });
    folder.fail(&entry, &server.url(), &["more than", &limit]);
    assert!(folder.is_tidy());
}

#[test]
fn without_network_it_says_what_to_put_where() {
    for pins in [&["sha256"][..], &["archive_sha256"]] {
        let folder = Folder::new(&format!("by-hand-{}", pins[0]));
        let (archive, entry) = archived(pins);
        let (place, bytes) = match pins[0] {
            "sha256" => (folder.model("model.tflite"), model()),
            _ => (folder.download("model.tgz"), archive),
        };
        let (there, expected) = (place.display().to_string(), hash(&bytes));
        let official = "http://models.example/some/path/model.tgz";
        let parts = [NOBODY, official, &there, &expected];
        folder.fail(&entry, NOBODY, &parts);
        // Something else put there does not do, and stays.
        folder.put(&place, b"something else");
        let found = hash(b"something else");
        folder.fail(&entry, NOBODY, &["warning", &there, &found, &expected]);
        assert_eq!(fs::read(&place).unwrap(), b"something else");
        folder.put(&place, &bytes);
        folder.succeed(&entry, NOBODY);
        assert_eq!(fs::read(folder.model("model.tflite")).unwrap(), model());
    }
    let folder = Folder::new("by-hand-plain");
    let (body, entry) = plain();
    let message = folder.fail(&entry, NOBODY, &["put that file at"]);
    let place = folder.model("model.tflite");
    assert!(message.contains(&place.display().to_string()));
    folder.put(&place, &body);
    folder.succeed(&entry, NOBODY);
}

#[test]
fn servers_that_have_it_not_are_named() {
    let folder = Folder::new("missing");
    let (_, entry) = archived(&["sha256"]);
    let server = Server::new(|_, stream| status(stream, "404 Not Found", ""));
    let address = format!("{}/some/path/model.tgz", server.url());
    folder.fail(&entry, &server.url(), &["404", &address, "by hand"]);
    let server = Server::new(|_, stream| write!(stream, "what is this?\r\n\r\n"));
    folder.fail(&entry, &server.url(), &["by hand"]);
    folder.fail(&entry, "http://no-such-host.invalid", &["no-such-host.invalid", "by hand"]);
    assert!(folder.is_tidy());
}

#[test]
fn redirects_are_followed_but_not_to_tls() {
    let folder = Folder::new("redirect");
    let (archive, entry) = archived(&["sha256"]);
    let server = Server::new(move |request, stream| match request.path.as_str() {
        "/some/path/model.tgz" => status(stream, "302 Found", "Location: ../elsewhere?a=b\r\n"),
        "/some/path/../elsewhere?a=b" => {
            let host = request.header("Host").unwrap();
            status(stream, "301 Moved", &format!("Location: http://{host}/there\r\n"))
        }
        "/there" => send(request, stream, &archive),
        _ => status(stream, "404 Not Found", ""),
    });
    folder.succeed(&entry, &server.url());
    assert_eq!(server.log().len(), 3);

    let folder = Folder::new("redirect-tls");
    let tls = "https://secure.example/model.tgz";
    let server =
        Server::new(move |_, stream| status(stream, "301 Moved", &format!("Location: {tls}\r\n")));
    folder.fail(&entry, &server.url(), &[tls, "plain HTTP only", "by hand"]);
    let server = Server::new(|_, stream| status(stream, "307 Again", "Location: /more\r\n"));
    folder.fail(&entry, &server.url(), &["redirects", "/more"]);
    let server = Server::new(|_, stream| status(stream, "302 Found", ""));
    folder.fail(&entry, &server.url(), &["without saying where"]);
}

#[test]
fn silent_servers_are_given_up() {
    let (body, entry) = plain();
    for (name, begins) in [("at-once", false), ("in-the-middle", true)] {
        let folder = Folder::new(&format!("silent-{name}"));
        let body = body.clone();
        let server = Server::new(move |request, stream| {
            if begins {
                send_with(request, stream, &body, "", 1000)?;
            }
            thread::sleep(Duration::from_secs(60));
            Ok(())
        });
        let started = Instant::now();
        let mut command = folder.pull(slice::from_ref(&entry), &server.url(), &["model"]);
        let output = command.args(["--timeout", "0.4"]).output().unwrap();
        fails(&output, 1, &["0.4 seconds", "by hand"]);
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn caches_that_cannot_be_written_are_named() {
    let folder = Folder::new("unwritable");
    let (archive, entry) = archived(&["sha256"]);
    folder.put(&folder.path("cache"), b"a file, not a folder");
    let server = Server::of(archive);
    folder.fail(&entry, &server.url(), &["cache", "--cache", "MOBILEIGHT_CACHE"]);
    assert_eq!(server.log(), [""; 0]);

    let mut command = mobileight();
    command.args(["pull", "mobilenet_v2_1.0_224"]).env_remove("HOME").env_remove("LOCALAPPDATA");
    let output = command.output().unwrap();
    fails(&output, 1, &["no place", "--cache"]);
}

#[test]
fn what_the_disk_refuses_is_not_fetched_again() {
    let folder = Folder::new("disk");
    let (archive, entry) = archived(&["archive_sha256"]);
    // In the way of the record of the model's hash.
    let obstacle = folder.model("model.tflite.sha256");
    fs::create_dir_all(&obstacle).unwrap();
    folder.fail(&entry, &Server::of(archive.clone()).url(), &["cannot write"]);
    assert!(!folder.model("model.tflite").exists());
    assert_eq!(fs::read(folder.download("model.tgz.part")).unwrap(), archive);
    fs::remove_dir(obstacle).unwrap();
    folder.succeed(&entry, NOBODY);
    assert_eq!(fs::read(folder.model("model.tflite")).unwrap(), model());
    assert!(folder.is_tidy());
}

#[test]
fn files_that_went_bad_in_the_cache_are_fetched_again() {
    for pins in [["sha256"], ["archive_sha256"]] {
        let folder = Folder::new(&format!("bad-{}", pins[0]));
        let (archive, entry) = archived(&pins);
        let server = Server::of(archive);
        folder.succeed(&entry, &server.url());
        let path = folder.model("model.tflite");
        let mut bytes = model();
        bytes[100] ^= 1;
        fs::write(&path, &bytes).unwrap();
        folder.fail(&entry, NOBODY, &["warning", &hash(&bytes), &hash(&model())]);
        let (_, message) = folder.succeed(&entry, &server.url());
        assert!(message.contains("warning"), "{message}");
        assert_eq!(fs::read(&path).unwrap(), model());
        assert_eq!(server.log().len(), 2);
    }
}

#[test]
fn processes_at_the_same_time_fetch_it_once() {
    let folder = Folder::new("together");
    let (body, entry) = plain();
    let server = Server::new(move |request, stream| {
        thread::sleep(Duration::from_millis(700));
        send(request, stream, &body)
    });
    let mut command = folder.pull(&[entry], &server.url(), &["model"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let processes: Vec<_> = (0..4).map(|_| command.spawn().unwrap()).collect();
    for process in processes {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("model.tflite"));
    }
    assert_eq!(server.log().len(), 1);
    assert!(folder.is_tidy());
}

#[test]
fn proxies_of_the_environment_are_asked_for_the_whole_address() {
    let folder = Folder::new("proxy");
    let (body, entry) = plain();
    let proxy = Server::new(move |request, stream| {
        assert_eq!(request.header("Host"), Some("behind.example:81"));
        // `us:er` and `p@ss`, as `us%3Aer:p%40ss`.
        if request.header("Proxy-Authorization") != Some("Basic dXM6ZXI6cEBzcw==") {
            return status(stream, "407 Proxy Authentication Required", "");
        }
        send(request, stream, &body)
    });
    let mut command = folder.pull(slice::from_ref(&entry), "http://behind.example:81", &["model"]);
    let output = command.env("http_proxy", proxy.url()).output().unwrap();
    fails(&output, 1, &["407"]);
    let address = proxy.url().replace("//", "//us%3Aer:p%40ss@");
    let output = command.env("http_proxy", address).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(proxy.log(), ["http://behind.example:81/plain.tflite?generation=1"; 2]);

    let (body, entry) = plain();
    let server = Server::of(body);
    let folder = Folder::new("no-proxy");
    let mut command = folder.pull(slice::from_ref(&entry), &server.url(), &["model"]);
    let output = command.env("ALL_PROXY", "socks5://secret:word@127.0.0.1:1").output().unwrap();
    let message = fails(&output, 1, &["ALL_PROXY", "http://"]);
    assert!(!message.contains("word"), "{message}");
    let output = command.env("HTTP_PROXY", NOBODY).env("NO_PROXY", "x, 127.0.0.1").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(server.log(), ["/plain.tflite?generation=1"]);
}

#[test]
fn the_list_is_a_catalog_and_names_are_checked() {
    let folder = Folder::new("list");
    let table = text(&mobileight().args(["pull", "--list"]).output().unwrap().stdout);
    let row = table.lines().find(|line| line.starts_with("mobilenet_v2_1.0_224_quant "));
    let row = row.unwrap_or_else(|| panic!("{table}"));
    for part in ["MobileNet V2", "224x224x3 uint8", "MB", "mobilenet_v2_1.0_224 ", "tensorflow.org"]
    {
        assert!(row.contains(part), "{row}");
    }
    let list = text(&mobileight().args(["pull", "--list", "--json"]).output().unwrap().stdout);
    let entries: Vec<Value> = serde_json::from_str(&list).unwrap();
    assert_eq!(entries.len() + 1, table.lines().count());
    let again = folder.pull(&entries, NOBODY, &[]).args(["--list", "--json"]).output().unwrap();
    assert_eq!(text(&again.stdout), list);

    let output = folder.pull(&entries, NOBODY, &["mobilenet_v2_1.0_224_quan"]).output().unwrap();
    fails(&output, 1, &["did you mean mobilenet_v2_1.0_224_quant"]);
    for arguments in [
        &["pull"][..],
        &["pull", "--list", "mobilenet_v2_1.0_224"],
        &["pull", "x", "--base-url", "https://mirror.example"],
        &["pull", "x", "--timeout", "0"],
    ] {
        fails(&mobileight().args(arguments).output().unwrap(), 2, &[]);
    }
    let hostile = json!({"name": "../x", "url": "http://h/x", "bytes": 1, "sha256": hash(b"")});
    let output = folder.pull(&[hostile], NOBODY, &["../x"]).output().unwrap();
    fails(&output, 1, &["catalog.json", "../x", "letters"]);
}

#[test]
fn published_files_pass_and_say_what_is_in_a_photo() {
    let (Some(quantized), Some(float), Some(labels), Some(photo)) = (
        shared("models/mobilenet_v1_0.25_224_quant.tflite"),
        shared("models/mobilenet_v1_0.25_224_float_metadata.tflite"),
        shared("labels/imagenet_1001.txt"),
        shared("images/photos/parrot.jpg"),
    ) else {
        return;
    };
    let folder = Folder::new("published");
    let files = [quantized, float, labels].map(|path| fs::read(path).unwrap());
    let server = Server::new(move |request, stream| {
        let path = request.path.split('?').next().unwrap();
        let file = match path {
            "/mediapipe-assets/mobilenet_v1_0.25_224_quant.tflite" => &files[0],
            "/mediapipe-assets/mobilenet_v1_0.25_224_1_metadata_1.tflite" => &files[1],
            "/download.tensorflow.org/data/ImageNetLabels.txt" => &files[2],
            _ => return status(stream, "404 Not Found", ""),
        };
        send(request, stream, file)
    });
    let names = [
        "mobilenet_v1_0.25_224_quant_metadata",
        "mobilenet_v1_0.25_224_metadata",
        "imagenet_labels_1001",
    ];
    let mut command = mobileight();
    command.arg("pull").args(names).args(["--base-url", &server.url(), "--cache"]);
    let output = command.arg(folder.path("cache")).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let paths: Vec<String> = text(&output.stdout).lines().map(String::from).collect();
    assert_eq!(paths.len(), 3);
    let mut command = mobileight();
    command.arg("classify").arg(&paths[0]).arg(photo).args(["--top", "1", "--labels", &paths[2]]);
    let output = command.output().unwrap();
    assert!(text(&output.stdout).contains("macaw"), "{}", text(&output.stderr));
}
