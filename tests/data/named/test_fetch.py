"""Downloads: F1 to F9 and F11 to F13 of the catalogue, against a server on 127.0.0.1."""

import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from email.message import Message

import pytest

from lamina.data.named import network
from lamina.data.named.catalogue import ENTRIES, Entry, RemoteFile
from lamina.data.named.fetch import fetch
from lamina.data.named.network import NextMirror, Rules, check_address
from lamina.errors import MachineError

LOOPBACK = Rules(schemes=("http",), public_only=False, tries=3, pause=0.01, timeout=5.0)
BODY = bytes(i * i % 251 for i in range(300_000))
SECOND = b"labels" * 100


def remote(name, body):
    return RemoteFile(name, len(body), hashlib.sha256(body).hexdigest(), 0, "")


def entry(*mirrors, files=None):
    files = files or (remote("one.gz", BODY), remote("two.gz", SECOND))
    return Entry("toy", "pictures", 1, "", "", "", "classification", mirrors=mirrors, files=files)


def serving(body, *, ranges=True, kind="application/gzip", limit=None, announce=True):
    """Answer with ``body``, honouring Range, and stop after ``limit`` bytes."""

    def answer(handler):
        asked = handler.headers.get("Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and ranges else 0
        if start >= len(body) and start:
            handler.send_error(416)
            return
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Type", kind)
        if announce:
            handler.send_header("Content-Length", str(len(body) - start))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        handler.end_headers()
        handler.wfile.write(body[start:] if limit is None else body[start : start + limit])

    return answer


def failing(code):
    return lambda handler: handler.send_error(code)


def redirecting(target):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.end_headers()

    return answer


@pytest.fixture
def good(server):
    server.answers |= {"/m/one.gz": serving(BODY), "/m/two.gz": serving(SECOND)}
    return server.url + "m/"


def whole(folder):
    assert (folder / "toy" / "one.gz").read_bytes() == BODY
    assert (folder / "toy" / "two.gz").read_bytes() == SECOND
    assert not list((folder / "toy").glob("*.part"))
    return True


def refusal(one, folder, **options):
    with pytest.raises(MachineError) as caught:
        fetch(one, folder, **{"rules": LOOPBACK, **options})
    error = caught.value
    assert error.exit_code == 5
    assert "--data-dir" in error.mend
    assert "\n" not in str(error) + error.mend
    return error


def test_fetches_what_is_missing_and_nothing_else(server, good, tmp_path):
    said = []
    fetch(entry(good), tmp_path, rules=LOOPBACK, say=said.append)
    assert whole(tmp_path)
    assert said[0].startswith("fetching one.gz (0.3 MB) from 127.0.0.1")
    assert server.asked == [("/m/one.gz", None), ("/m/two.gz", None)]
    fetch(entry(good), tmp_path, rules=LOOPBACK)
    assert len(server.asked) == 2
    (tmp_path / "toy" / "one.gz").unlink()
    fetch(entry(good), tmp_path, rules=LOOPBACK)
    assert [path for path, _ in server.asked[2:]] == ["/m/one.gz"]


def test_offline_never_asks(server, good, tmp_path):
    error = refusal(entry(good), tmp_path, offline=True)
    assert "the network is not to be used" in str(error)
    assert server.asked == []
    assert list(tmp_path.iterdir()) == []


class TestF1:
    def closed_port(self):
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            return f"http://127.0.0.1:{held.getsockname()[1]}/"

    def test_F1_names_files_sizes_hashes_and_the_folder(self, tmp_path):
        one = entry(self.closed_port(), self.closed_port())
        error = refusal(one, tmp_path)
        assert str(error).startswith(
            "toy: cannot be fetched: 127.0.0.1: connection refused; 127.0.0.1: connection refused"
        )
        for file in one.files:
            assert f"{file.name} ({file.size:,} bytes, SHA-256 {file.sha256})" in error.mend
        assert str(tmp_path / "toy") in error.mend
        assert "LAMINA_DATA" in error.mend

    def test_F1_asks_only_for_what_is_missing(self, good, tmp_path):
        fetch(entry(good), tmp_path, rules=LOOPBACK)
        (tmp_path / "toy" / "two.gz").unlink()
        error = refusal(entry(self.closed_port()), tmp_path)
        assert "two.gz" in error.mend
        assert "one.gz" not in error.mend

    def test_F1_what_it_asks_for_works(self, server, tmp_path):
        (tmp_path / "toy").mkdir()
        (tmp_path / "toy" / "one.gz").write_bytes(BODY)
        (tmp_path / "toy" / "two.gz").write_bytes(SECOND)
        fetch(entry(server.url), tmp_path, offline=True)

    def test_F1_name_that_does_not_resolve(self, tmp_path, monkeypatch):
        def no_name(*args, **options):
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", no_name)
        assert "its name cannot be resolved" in str(refusal(entry("https://example.org/"), tmp_path, rules=Rules()))


class TestF2:
    @pytest.mark.parametrize("code", [403, 404, 500, 503])
    def test_F2_next_mirror(self, server, good, tmp_path, code):
        server.answers["/bad/one.gz"] = failing(code)
        said = []
        fetch(entry(server.url + "bad/", good), tmp_path, rules=LOOPBACK, say=said.append)
        assert whole(tmp_path)
        assert any(f"answered {code}" in line for line in said)

    @pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
    def test_F2_web_page_with_200(self, server, good, tmp_path, kind):
        page = b"\n<!DOCTYPE html><html>please log in" + b" " * 500_000
        server.answers["/bad/one.gz"] = serving(page[: len(BODY)], kind=kind)
        said = []
        fetch(entry(server.url + "bad/", good), tmp_path, rules=LOOPBACK, say=said.append)
        assert whole(tmp_path)
        assert any("sent a web page instead of the file" in line for line in said)

    def test_F2_then_F1(self, server, tmp_path):
        server.answers["/a/one.gz"] = failing(503)
        error = refusal(entry(server.url + "a/", server.url + "b/"), tmp_path)
        assert "answered 503" in str(error)
        assert "answered 404" in str(error)
        assert "put one.gz" in error.mend


class TestF3:
    def test_F3_wrong_hash_is_deleted_both_shown_next_mirror(self, server, good, tmp_path):
        wrong = bytes(len(BODY))
        server.answers["/bad/one.gz"] = serving(wrong)
        said = []
        fetch(entry(server.url + "bad/", good), tmp_path, rules=LOOPBACK, say=said.append)
        assert whole(tmp_path)
        expected, found = hashlib.sha256(BODY).hexdigest(), hashlib.sha256(wrong).hexdigest()
        assert any(f"SHA-256 {expected} expected, {found} found" in line for line in said)

    def test_F3_everywhere(self, server, tmp_path):
        server.answers["/bad/one.gz"] = serving(bytes(len(BODY)))
        error = refusal(entry(server.url + "bad/"), tmp_path)
        assert "wrong content" in str(error)
        assert not list((tmp_path / "toy").glob("one*"))

    def test_F3_wrong_part_of_another_release_begins_anew(self, server, good, tmp_path):
        (tmp_path / "toy").mkdir()
        (tmp_path / "toy" / "one.gz.part").write_bytes(b"x" * 1000)
        fetch(entry(good), tmp_path, rules=LOOPBACK)
        assert whole(tmp_path)
        assert server.asked[:2] == [("/m/one.gz", "bytes=1000-"), ("/m/one.gz", None)]


class TestF4:
    @pytest.mark.parametrize("announce", [True, False], ids=["announced", "unannounced"])
    def test_F4_cut_at_60_percent_goes_on(self, server, good, tmp_path, announce):
        cut = int(len(BODY) * 0.6)
        answers = iter([serving(BODY, limit=cut, announce=announce), serving(BODY)])
        server.answers["/m/one.gz"] = lambda handler: next(answers)(handler)
        said = []
        fetch(entry(good), tmp_path, rules=LOOPBACK, say=said.append)
        assert whole(tmp_path)
        assert server.asked[:2] == [("/m/one.gz", None), ("/m/one.gz", f"bytes={cut}-")]
        assert any(f"cut after {cut:,} of {len(BODY):,} bytes" in line for line in said)

    def test_F4_three_tries_with_growing_pause_then_the_next_mirror(self, server, good, tmp_path, monkeypatch):
        server.answers["/bad/one.gz"] = serving(BODY, limit=1000)
        pauses = []
        monkeypatch.setattr(time, "sleep", pauses.append)
        fetch(entry(server.url + "bad/", good), tmp_path, rules=Rules(**{**vars(LOOPBACK), "pause": 1.0}))
        assert whole(tmp_path)
        assert pauses == [1.0, 2.0]
        assert [asked for path, asked in server.asked if path == "/bad/one.gz"] == [None, "bytes=1000-", "bytes=2000-"]
        assert ("/m/one.gz", "bytes=3000-") in server.asked


class TestF5:
    def test_F5_server_ignores_range(self, server, good, tmp_path):
        (tmp_path / "toy").mkdir()
        (tmp_path / "toy" / "one.gz.part").write_bytes(BODY[:5000])
        server.answers["/m/one.gz"] = serving(BODY, ranges=False)
        fetch(entry(good), tmp_path, rules=LOOPBACK)
        assert whole(tmp_path)
        assert server.asked[0] == ("/m/one.gz", "bytes=5000-")

    def test_F5_range_answered_with_another_piece(self, server, good, tmp_path):
        (tmp_path / "toy").mkdir()
        (tmp_path / "toy" / "one.gz.part").write_bytes(BODY[:5000])

        def answer(handler):
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes 9-{len(BODY) - 1}/{len(BODY)}")
            handler.end_headers()
            handler.wfile.write(BODY[9:])

        server.answers["/bad/one.gz"] = answer
        fetch(entry(server.url + "bad/", good), tmp_path, rules=LOOPBACK)
        assert whole(tmp_path)

    @pytest.mark.parametrize("announce", [True, False], ids=["announced", "unannounced"])
    def test_F5_sends_more_than_it_should(self, server, good, tmp_path, announce):
        server.answers["/bad/one.gz"] = serving(BODY + bytes(5_000_000), announce=announce)
        said = []
        fetch(entry(server.url + "bad/", good), tmp_path, rules=LOOPBACK, say=said.append)
        assert whole(tmp_path)
        assert any("300,000 bytes" in line and "allowed" in line for line in said)

    def test_F5_never_stores_more_than_the_cap(self, server, tmp_path):
        stop = threading.Event()

        def endless(handler):
            handler.send_response(200)
            handler.end_headers()
            while not stop.is_set():
                handler.wfile.write(bytes(65536))

        server.answers["/bad/one.gz"] = endless
        refusal(entry(server.url + "bad/"), tmp_path)
        stop.set()
        assert sum(path.stat().st_size for path in (tmp_path / "toy").iterdir()) <= len(BODY) + 1000

    def test_F5_unknown_size_has_a_cap_too(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(network, "UNKNOWN_CAP", 10_000)
        file = RemoteFile("one.gz", 0, hashlib.sha256(BODY).hexdigest(), 0, "")
        server.answers["/m/one.gz"] = serving(BODY, announce=False)
        assert "10,000 bytes allowed" in str(refusal(entry(server.url + "m/", files=(file,)), tmp_path))

    def test_F5_part_longer_than_the_file(self, good, tmp_path):
        (tmp_path / "toy").mkdir()
        (tmp_path / "toy" / "one.gz.part").write_bytes(BODY + b"more")
        fetch(entry(good), tmp_path, rules=LOOPBACK)
        assert whole(tmp_path)

    def test_F5_416(self, server, good, tmp_path):
        file = RemoteFile("one.gz", 0, hashlib.sha256(BODY).hexdigest(), 0, "")  # the size is not known
        (tmp_path / "toy").mkdir()
        (tmp_path / "toy" / "one.gz.part").write_bytes(BODY + b"more")
        fetch(entry(good, files=(file,)), tmp_path, rules=LOOPBACK)
        assert (tmp_path / "toy" / "one.gz").read_bytes() == BODY

    def test_whole_part_needs_no_server(self, tmp_path):
        (tmp_path / "toy").mkdir()
        (tmp_path / "toy" / "one.gz.part").write_bytes(BODY)
        (tmp_path / "toy" / "two.gz").write_bytes(SECOND)
        fetch(entry("http://127.0.0.1:9/"), tmp_path, rules=LOOPBACK)
        assert whole(tmp_path)


CHILD = """
import sys, json
from pathlib import Path
from lamina.data.named.catalogue import Entry, RemoteFile
from lamina.data.named.fetch import fetch
from lamina.data.named.network import Rules
mirror, folder, files = json.loads(sys.argv[1])
files = tuple(RemoteFile(name, size, digest, 0, "") for name, size, digest in files)
one = Entry("toy", "pictures", 1, "", "", "", "classification", mirrors=(mirror,), files=files)
fetch(one, Path(folder), rules=Rules(schemes=("http",), public_only=False), say=lambda line: print(line, flush=True))
"""


def child(mirror, folder):
    files = [(file.name, file.size, file.sha256) for file in entry().files]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps([mirror, str(folder), files])], stdout=subprocess.PIPE, text=True
    )


def waits_for(condition, seconds=20.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def slowly(release, pieces):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BODY)))
        handler.end_headers()
        handler.wfile.write(BODY[:pieces])
        handler.wfile.flush()
        release.wait(20)
        handler.wfile.write(BODY[pieces:])

    return answer


def test_F6_killed_in_the_middle_goes_on_and_is_never_seen_as_whole(server, good, tmp_path):
    release = threading.Event()
    server.answers["/m/one.gz"] = slowly(release, 200_000)
    part = tmp_path / "toy" / "one.gz.part"
    with child(good, tmp_path) as process:
        waits_for(lambda: part.is_file() and part.stat().st_size >= 130_000)
        process.send_signal(signal.SIGKILL)
    release.set()
    kept = part.stat().st_size
    assert part.read_bytes() == BODY[:kept]
    assert not (tmp_path / "toy" / "one.gz").exists()
    server.answers["/m/one.gz"] = serving(BODY)
    said = []
    fetch(entry(good), tmp_path, rules=LOOPBACK, say=said.append)
    assert whole(tmp_path)
    assert ("/m/one.gz", f"bytes={kept}-") in server.asked
    assert any("taken over from process" in line for line in said)  # F8


def test_F7_second_process_waits_and_says_for_whom(server, good, tmp_path):
    release = threading.Event()
    server.answers["/m/one.gz"] = slowly(release, 100_000)
    with child(good, tmp_path) as process:
        waits_for(lambda: (tmp_path / "toy" / "one.gz.part").is_file())
        said = []
        waiter = threading.Thread(
            target=fetch, args=(entry(good), tmp_path), kwargs={"rules": LOOPBACK, "say": said.append}
        )
        waiter.start()
        waits_for(lambda: said)
        assert said == [f"toy is in use by process {process.pid} on {socket.gethostname()}: waiting for it"]
        release.set()
        waiter.join(20)
        assert not waiter.is_alive()
        assert process.wait(20) == 0
    assert whole(tmp_path)
    assert len(server.asked) == 2  # each file once


def test_F8_a_living_holder_is_named_when_patience_ends(server, good, tmp_path):
    release = threading.Event()
    server.answers["/m/one.gz"] = slowly(release, 100_000)
    with child(good, tmp_path) as process:
        waits_for(lambda: (tmp_path / "toy" / "one.gz.part").is_file())
        error = refusal(entry(good), tmp_path, rules=Rules(**{**vars(LOOPBACK), "patience": 0.2}))
        assert f"in use by process {process.pid} on {socket.gethostname()}" in str(error)
        release.set()
        process.wait(20)


class TestF9:
    def test_F9_a_file_is_in_the_way(self, good, tmp_path):
        (tmp_path / "file").touch()
        error = refusal(entry(good), tmp_path / "file")
        assert str(tmp_path / "file") in str(error)

    def test_F9_read_only(self, good, tmp_path, monkeypatch):
        from lamina.io import filesystem

        class ReadOnly(filesystem.FileSystem):
            def mkdir(self, path):
                raise OSError(30, os.strerror(30))

        monkeypatch.setattr(filesystem, "active", ReadOnly())
        assert str(tmp_path / "toy") in str(refusal(entry(good), tmp_path))

    def test_F9_disk_full_while_it_arrives(self, good, tmp_path, monkeypatch):
        from lamina.io import filesystem

        class Full(filesystem.FileSystem):
            def write(self, fd, data):
                raise OSError(28, os.strerror(28))

        monkeypatch.setattr(filesystem, "active", Full())
        refusal(entry(good), tmp_path)
        assert not (tmp_path / "toy" / "one.gz").exists()
        monkeypatch.undo()
        fetch(entry(good), tmp_path, rules=LOOPBACK)
        assert whole(tmp_path)


class TestF11:
    @pytest.mark.parametrize(
        "url",
        [
            "http://example.org/x", "file:///etc/passwd", "ftp://example.org/x", "data:,x", "gopher://x/", "//x/y", "x",
            "https://127.0.0.1/x", "https://10.1.2.3/x", "https://192.168.0.1/", "https://169.254.169.254/latest/meta-data",
            "https://[::1]/", "https://[fe80::1]/", "https://0.0.0.0/", "https://[::ffff:127.0.0.1]/", "https://100.64.0.1/",
            "https://localhost/x",
        ],
    )  # fmt: skip
    def test_F11_addresses_refused(self, url):
        with pytest.raises(NextMirror, match="leads to"):
            check_address(url, Rules())

    def test_F11_public_address_allowed(self, monkeypatch):
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: [(2, 1, 6, "", ("93.184.216.34", 443))])
        check_address("https://example.org/x", Rules())

    def test_F11_name_of_a_private_address(self, monkeypatch):
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda *a, **k: [(2, 1, 6, "", ("93.184.216.34", 443)), (2, 1, 6, "", ("10.0.0.7", 443))],
        )
        with pytest.raises(NextMirror, match=r"example.org \(10.0.0.7\), an address that is not public"):
            check_address("https://example.org/x", Rules())

    @pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "https://127.0.0.1:1/x", "data:,x"])
    def test_F11_redirect_to_another_scheme(self, server, good, tmp_path, target):
        server.answers["/bad/one.gz"] = redirecting(target)
        said = []
        fetch(entry(server.url + "bad/", good), tmp_path, rules=LOOPBACK, say=said.append)
        assert whole(tmp_path)
        assert any("leads to" in line for line in said)

    def test_F11_redirect_from_https_to_http_or_inwards(self):
        redirect = network._CheckedRedirect(Rules())
        request = urllib.request.Request("https://example.org/x")
        for target in ("http://example.org/x", "https://127.0.0.1/x", "https://169.254.169.254/"):
            with pytest.raises(NextMirror, match="leads to"):
                redirect.redirect_request(request, None, 302, "Found", Message(), target)

    def test_F11_exit_code(self, server, tmp_path):
        server.answers["/bad/one.gz"] = redirecting("file:///etc/passwd")
        assert "leads to file://" in str(refusal(entry(server.url + "bad/"), tmp_path))

    def test_redirect_within_the_rules_is_followed(self, server, good, tmp_path):
        server.answers["/old/one.gz"] = redirecting("/m/one.gz")
        server.answers["/old/two.gz"] = redirecting(good + "two.gz")
        fetch(entry(server.url + "old/"), tmp_path, rules=LOOPBACK)
        assert whole(tmp_path)

    def test_redirect_circle_ends(self, server, tmp_path):
        server.answers["/m/one.gz"] = redirecting("/m/one.gz")
        refusal(entry(server.url + "m/"), tmp_path)


class TestF12:
    def test_F12_server_without_tls(self, server, tmp_path):
        mirror = server.url.replace("http://", "https://") + "m/"
        error = refusal(entry(mirror), tmp_path, rules=Rules(public_only=False, timeout=5.0))
        assert "its certificate is not accepted" in str(error)

    def test_F12_clock_is_named(self, tmp_path, monkeypatch):
        def refuse(*args, **options):
            error = ssl.SSLCertVerificationError(1, "certificate verify failed")
            error.verify_message = "certificate is not yet valid"
            raise urllib.error.URLError(error)

        monkeypatch.setattr(urllib.request.OpenerDirector, "open", refuse)
        error = refusal(entry("https://example.org/"), tmp_path, rules=Rules(public_only=False))
        assert f"certificate is not yet valid (this machine's clock says {time.strftime('%d %B %Y')}" in str(error)

    def test_F12_certificates_are_always_verified(self):
        (handler,) = [h for h in network._opener(Rules()).handlers if isinstance(h, urllib.request.HTTPSHandler)]
        assert handler._context.verify_mode == ssl.CERT_REQUIRED
        assert handler._context.check_hostname
        kinds = {type(h).__name__ for h in network._opener(Rules()).handlers}
        assert not kinds & {"HTTPHandler", "FileHandler", "FTPHandler", "DataHandler"}


def test_no_answer_in_time(server, tmp_path):
    server.answers["/m/one.gz"] = lambda handler: time.sleep(0.5)
    error = refusal(entry(server.url + "m/"), tmp_path, rules=Rules(**{**vars(LOOPBACK), "timeout": 0.1}))
    assert "no answer in time" in str(error)


def test_the_catalogue_is_fetched_by_https_with_hashes():
    for one in ENTRIES:
        for mirror in one.mirrors:
            assert mirror.startswith("https://")
        assert len(one.mirrors) >= 2 * bool(one.files)
        for file in one.files:
            assert len(file.sha256) == 64
            assert (len(file.content_sha256) == 64) != bool(file.member)
            assert not file.name.endswith((".pkl", ".pickle", ".pt", ".joblib"))  # S17
