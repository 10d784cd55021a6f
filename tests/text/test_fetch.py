"""Files over real HTTP on loopback, from servers that do everything a server may do wrong."""

import email.utils
import gzip
import hashlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from llmill.contract.errors import UserError
from llmill.text.download import transfer
from llmill.text.download.fetch import fetch, fetch_all, mirror, missing
from llmill.text.download.sources import File
from tests.text.refusals import refused
from tests.text.server import (
    behave,
    cut,
    endless,
    ignore_range,
    lying_range,
    other,
    serving,
    shifted_range,
    stall,
    status,
)

BODY = bytes(range(256)) * 1200
SIZE = 307_200
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server():
    with serving() as server:
        server.files["a.txt"] = BODY
        yield server


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A place to fetch to: `desk.get(file)` fetches, with what was said and slept kept aside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    desk = SimpleNamespace(
        downloads=tmp_path / "scratch" / "downloads",
        to=tmp_path / "out" / "a.txt",
        said=[],
        slept=[],
    )

    def get(file, mirror=None, retries=3):
        desk.to.unlink(missing_ok=True)
        with transfer.client(timeout=20) as client:
            network = transfer.Network(client, retries, desk.said.append, desk.slept.append)
            return fetch(file, desk.to, desk.downloads, mirror, network, lambda position: None)

    desk.get = get
    desk.kept = lambda: sorted(
        p.name for p in desk.downloads.iterdir() if not p.name.endswith(".lock")
    )
    return desk


def a_file(*urls, sha256=SHA256, size=SIZE, path="a.txt"):
    return File(path=path, bytes=size, sha256=sha256, urls=list(urls))


def test_a_file_arrives_and_is_kept_under_its_hash(server, desk):
    assert desk.get(a_file(f"{server.url}/a.txt")) == (307200, SHA256)
    assert desk.to.read_bytes() == BODY
    assert desk.kept() == [SHA256]


def test_a_finished_download_is_not_fetched_again(server, desk):
    desk.get(a_file(f"{server.url}/a.txt"))
    desk.get(a_file(f"{server.url}/a.txt"))
    assert server.asked == [("a.txt", None)]


def test_a_finished_download_that_was_damaged_is_fetched_again(server, desk):
    desk.get(a_file(f"{server.url}/a.txt"))
    (desk.downloads / SHA256).unlink()
    (desk.downloads / SHA256).write_bytes(BODY[:-1])
    assert desk.get(a_file(f"{server.url}/a.txt")) == (307200, SHA256)
    assert len(server.asked) == 2


def test_a_cut_connection_is_continued_where_it_broke(server, desk):
    server.plan["a.txt"] = [cut(100_000)]
    desk.get(a_file(f"{server.url}/a.txt"))
    assert desk.to.read_bytes() == BODY
    assert server.asked == [("a.txt", None), ("a.txt", "bytes=100000-")]
    assert server.conditions[1].startswith('"')


def test_a_part_that_an_earlier_run_left_is_continued(server, desk):
    server.plan["a.txt"] = [cut(100_000)]
    refused(desk, a_file(f"{server.url}/a.txt"), retries=0)
    assert missing(a_file(f"{server.url}/a.txt"), desk.downloads) == 207_200
    desk.get(a_file(f"{server.url}/a.txt"), retries=0)
    assert desk.to.read_bytes() == BODY
    assert server.asked[-1] == ("a.txt", "bytes=100000-")


def test_a_server_that_ignores_the_range_gives_the_whole_again(server, desk):
    server.plan["a.txt"] = [cut(100_000), ignore_range]
    desk.get(a_file(f"{server.url}/a.txt"))
    assert desk.to.read_bytes() == BODY
    assert server.asked[1] == ("a.txt", "bytes=100000-")


def test_a_file_that_changes_between_the_parts_is_taken_whole(server, desk):
    server.plan["a.txt"] = [cut(100_000)]
    unknown = a_file(f"{server.url}/a.txt", sha256=None, size=None)
    refused(desk, unknown, retries=0)
    server.files["a.txt"] = b"a new edition " * 20_000
    assert desk.get(unknown)[0] == 280_000
    assert desk.to.read_bytes() == b"a new edition " * 20_000


@pytest.mark.parametrize("tag", ['W/"weak"', ""])
def test_without_a_hash_or_a_strong_validator_nothing_is_continued(server, desk, tag):
    server.plan["a.txt"] = [cut(100_000, ETag=tag)]
    desk.get(a_file(f"{server.url}/a.txt", sha256=None, size=None))
    assert desk.to.read_bytes() == BODY
    assert server.asked == [("a.txt", None), ("a.txt", None)]


def test_with_a_hash_a_part_is_continued_without_a_validator(server, desk):
    server.plan["a.txt"] = [cut(100_000, ETag='W/"weak"')]
    desk.get(a_file(f"{server.url}/a.txt"))
    assert server.asked[1] == ("a.txt", "bytes=100000-")
    assert server.conditions[1] is None


def test_a_date_is_a_validator_where_there_is_no_tag(server, desk):
    date = "Tue, 15 Nov 1994 12:45:26 GMT"
    server.plan["a.txt"] = [cut(100_000, Last_Modified=date)]
    desk.get(a_file(f"{server.url}/a.txt"))
    assert desk.to.read_bytes() == BODY
    assert server.conditions[1] == date


def test_a_range_that_begins_elsewhere_is_not_appended(server, desk):
    server.plan["a.txt"] = [cut(100_000), shifted_range]
    desk.get(a_file(f"{server.url}/a.txt"))
    assert desk.to.read_bytes() == BODY
    assert [asked for _, asked in server.asked] == [None, "bytes=100000-", None]


def test_parts_that_do_not_fit_together_are_fetched_whole(server, desk):
    server.plan["a.txt"] = [cut(100_000), lying_range]
    desk.get(a_file(f"{server.url}/a.txt"))
    assert desk.to.read_bytes() == BODY
    assert [asked for _, asked in server.asked] == [None, "bytes=100000-", None]


def test_a_range_not_satisfiable_with_all_bytes_here_is_the_end(server, desk):
    server.plan["a.txt"] = [cut(100_000)]
    unsized = a_file(f"{server.url}/a.txt", size=None)
    refused(desk, unsized, retries=0)
    (desk.downloads / f"{SHA256}.part").write_bytes(BODY)  # killed just before the new name
    desk.get(unsized)
    assert desk.to.read_bytes() == BODY
    assert server.asked[1:] == [("a.txt", "bytes=307200-")]


def test_a_part_longer_than_the_servers_file_is_dropped(server, desk):
    server.plan["a.txt"] = [cut(100_000)]
    unsized = a_file(f"{server.url}/a.txt", size=None)
    refused(desk, unsized, retries=0)
    (desk.downloads / f"{SHA256}.part").write_bytes(BODY + b"more")
    desk.get(unsized)
    assert desk.to.read_bytes() == BODY
    assert [asked for _, asked in server.asked] == [None, "bytes=307204-", None]


def test_a_part_of_another_address_is_not_continued(server, desk):
    server.files["b.txt"] = BODY
    server.plan["a.txt"] = [cut(100_000)]
    desk.get(a_file(f"{server.url}/a.txt", f"{server.url}/b.txt"), retries=0)
    assert desk.to.read_bytes() == BODY
    assert server.asked == [("a.txt", None), ("b.txt", None)]


def test_a_killed_process_is_continued_by_the_next(server, desk):
    server.plan["a.txt"] = [stall(200_000)]
    child = another_process(server, desk, "one")
    part = desk.downloads / f"{SHA256}.part"
    wait_for(lambda: transfer.size(part) >= 100_000)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    here = transfer.size(part)
    desk.get(a_file(f"{server.url}/a.txt"))
    assert desk.to.read_bytes() == BODY
    assert server.asked[1] == ("a.txt", f"bytes={here}-")


def test_two_processes_fetch_a_file_once(server, desk):
    server.plan["a.txt"] = [stall(200_000)]
    first = another_process(server, desk, "one")
    wait_for(lambda: server.asked)
    second = another_process(server, desk, "two")
    assert "waiting for another process" in second.stdout.readline()
    first.send_signal(signal.SIGKILL)  # the lock goes with its process
    first.communicate()
    second.communicate(timeout=60)
    assert second.returncode == 0
    assert (desk.to.parent / "two").read_bytes() == BODY
    assert len(server.asked) == 2


def another_process(server, desk, name):
    desk.to.parent.mkdir(parents=True, exist_ok=True)
    program = (
        "from pathlib import Path; from llmill.text.download import fetch, transfer\n"
        "from llmill.text.download.sources import File\n"
        f"file = File(path='a.txt', bytes={SIZE}, sha256='{SHA256}',"
        f" urls=['{server.url}/a.txt'])\n"
        "say = lambda text: print(text, flush=True)\n"
        "network = transfer.Network(transfer.client(60.0), 3, say)\n"
        f"fetch.fetch(file, Path({str(desk.to.with_name(name))!r}), Path({str(desk.downloads)!r}),"
        " None, network, lambda position: None)\n"
    )
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def test_wrong_bytes_are_refused_with_both_hashes_and_removed(server, desk):
    bad = b"x" * len(BODY)
    server.files["a.txt"] = bad
    line = refused(desk, a_file(f"{server.url}/a.txt"))
    assert SHA256 in line
    assert hashlib.sha256(bad).hexdigest() in line
    assert f"{server.url}/a.txt" in line
    assert desk.kept() == []
    assert len(server.asked) == 1


def test_after_wrong_bytes_the_next_address_is_tried(server, desk):
    server.files["b.txt"] = BODY
    server.plan["a.txt"] = [other(b"<html>moved</html>")]
    desk.get(a_file(f"{server.url}/a.txt", f"{server.url}/b.txt"))
    assert desk.to.read_bytes() == BODY


def test_a_short_file_that_http_calls_complete_is_refused(server, desk):
    server.plan["a.txt"] = [other(BODY[:1000])]  # complete by HTTP, too short by the table
    line = refused(desk, a_file(f"{server.url}/a.txt"))
    assert hashlib.sha256(BODY[:1000]).hexdigest() in line


def test_not_found_goes_to_the_next_address_at_once(server, desk):
    desk.get(a_file(f"{server.url}/gone.txt", f"{server.url}/a.txt"))
    assert desk.slept == []
    assert server.asked == [("gone.txt", None), ("a.txt", None)]


def test_when_no_address_works_the_line_names_them_all(server, desk):
    line = refused(desk, a_file(f"{server.url}/gone", "no/such/file.txt", f"{server.url}/lost"))
    assert f"{server.url}/gone: HTTP 404 Not Found" in line
    assert "no/such/file.txt: no such file or directory" in line
    assert f"{server.url}/lost: HTTP 404 Not Found" in line


def test_a_busy_server_is_asked_again_after_growing_waits(server, desk):
    server.plan["a.txt"] = [status(503), status(429), status(500)]
    desk.get(a_file(f"{server.url}/a.txt"))
    assert desk.slept == [0.5, 1.0, 2.0]


def test_after_the_last_retry_the_server_is_given_up(server, desk):
    server.plan["a.txt"] = [status(503)] * 3
    line = refused(desk, a_file(f"{server.url}/a.txt"), retries=2)
    assert "HTTP 503 Service Unavailable" in line
    assert len(server.asked) == 3


def test_bytes_that_came_make_a_failed_try_no_failure(server, desk):
    server.files["a.txt"] = body = BODY * 14  # 4,300,800 bytes
    sha256 = hashlib.sha256(body).hexdigest()
    server.plan["a.txt"] = [cut(2_000_000), status(503), status(503), status(503)]
    file = a_file(f"{server.url}/a.txt", sha256=sha256, size=len(body))
    assert desk.get(file, retries=4) == (len(body), sha256)
    assert desk.slept == [0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize(("asked", "slept"), [("7", 7.0), ("86400", 60.0), ("soon", 0.5)])
def test_the_wait_that_a_server_asks_for_is_kept_within_reason(server, desk, asked, slept):
    server.plan["a.txt"] = [status(429, Retry_After=asked)]
    desk.get(a_file(f"{server.url}/a.txt"))
    assert desk.slept == [slept]


def test_the_wait_may_be_a_date(server, desk):
    far = email.utils.format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
    server.plan["a.txt"] = [status(503, Retry_After=far)]
    desk.get(a_file(f"{server.url}/a.txt"))
    assert desk.slept == [60.0]


def test_without_a_network_one_line_names_the_mirror_variable(server, desk):
    with serving() as gone:
        closed = gone.url
    line = refused(desk, a_file(f"{closed}/a.txt"), retries=1)
    assert "no connection" in line
    assert "set LLMILL_MIRROR to a folder or base URL" in line


def test_a_compressed_answer_is_stored_as_the_file_it_holds(server, desk):
    server.plan["a.txt"] = [other(gzip.compress(BODY), Content_Encoding="gzip")]
    desk.get(a_file(f"{server.url}/a.txt"))
    assert desk.to.read_bytes() == BODY


def test_a_redirect_is_followed(server, desk):
    server.files["old"] = b""
    server.plan["old"] = [status(302, Location=f"{server.url}/a.txt")]
    assert desk.get(a_file(f"{server.url}/old"))[1] == SHA256


def test_an_endless_answer_is_not_read_for_ever(server, desk, monkeypatch):
    monkeypatch.setattr(transfer, "SPARE", 1000)
    server.plan["a.txt"] = [endless]
    line = refused(desk, a_file(f"{server.url}/a.txt"))
    assert "wrong content" in line
    assert desk.kept() == []


def test_without_a_hash_what_comes_is_taken_and_kept(server, desk):
    unknown = a_file(f"{server.url}/a.txt", sha256=None, size=None)
    assert desk.get(unknown) == (307200, SHA256)
    server.files["a.txt"] = b"changed"
    assert desk.get(unknown) == (307200, SHA256)
    assert "remove that to fetch it again" in desk.said[-1]


def test_an_empty_file_is_refused(server, desk):
    server.files["a.txt"] = b""
    line = refused(desk, a_file(f"{server.url}/a.txt", sha256=None, size=None))
    assert "the file is empty" in line


def test_a_wrong_size_is_refused_where_no_hash_is_known(server, desk):
    line = refused(desk, a_file(f"{server.url}/a.txt", sha256=None, size=5))
    assert "307,200 bytes, sources.yaml has 5" in line


def test_a_mirror_folder_is_tried_before_the_urls(server, desk, tmp_path):
    (tmp_path / "my mirror" / "novels").mkdir(parents=True)
    (tmp_path / "my mirror" / "novels" / "a b.txt").write_bytes(BODY)
    file = a_file(f"{server.url}/a.txt", path="novels/a b.txt")
    assert desk.get(file, mirror="my mirror") == (307200, SHA256)
    assert server.asked == []
    assert desk.to.stat().st_ino != (tmp_path / "my mirror" / "novels" / "a b.txt").stat().st_ino


def test_a_mirror_url_is_tried_before_the_urls(server, desk):
    server.files["base/novels/a b.txt"] = BODY
    file = a_file(f"{server.url}/a.txt", path="novels/a b.txt")
    desk.get(file, mirror=f"{server.url}/base/")
    assert server.asked == [("base/novels/a b.txt", None)]


def test_what_a_mirror_lacks_or_has_wrong_comes_from_the_urls(server, desk, tmp_path):
    (tmp_path / "mirror").mkdir()
    desk.get(a_file(f"{server.url}/a.txt"), mirror="mirror")
    shutil.rmtree(desk.downloads)
    (tmp_path / "mirror" / "a.txt").write_bytes(b"bad")
    desk.get(a_file(f"{server.url}/a.txt"), mirror="mirror")
    assert desk.to.read_bytes() == BODY
    assert (tmp_path / "mirror" / "a.txt").read_bytes() == b"bad"
    assert len(server.asked) == 2


def test_a_mirror_folder_that_is_not_there_is_named(desk, monkeypatch):
    monkeypatch.setenv("LLMILL_MIRROR", "no/such")
    with pytest.raises(UserError, match="LLMILL_MIRROR=no/such: no such folder"):
        mirror()


@pytest.mark.parametrize("value", ["", "http://127.0.0.1:1/base", "."])
def test_a_mirror_is_a_folder_or_an_address_or_nothing(desk, monkeypatch, value):
    monkeypatch.setenv("LLMILL_MIRROR", value)
    assert mirror() == (value or None)


def test_a_local_path_is_an_address(desk, tmp_path):
    (tmp_path / "my books").mkdir()
    (tmp_path / "my books" / "one.txt").write_bytes(BODY)
    assert desk.get(a_file("my books/one.txt", sha256=None, size=None)) == (307200, SHA256)
    assert desk.kept() == []


def test_a_full_disk_is_found_before_the_first_byte(server, desk, monkeypatch):
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda path: SimpleNamespace(free=300_000))
    line = refused(desk, a_file(f"{server.url}/a.txt"))
    assert "307,200 bytes needed, 300,000 free" in line
    assert str(desk.downloads) in line


def test_a_disk_that_fills_up_while_writing_is_one_line(server, desk, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transfer.record, "write_json", full)
    assert "the disk is full" in refused(desk, a_file(f"{server.url}/a.txt"))


def test_a_proxy_that_is_away_is_named(desk, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://me:s3cret@127.0.0.1:9")
    line = refused(desk, a_file("http://files.invalid/a.txt"), retries=0)
    assert "through the proxy http://127.0.0.1:9 (HTTP_PROXY)" in line
    assert "s3cret" not in line


def test_a_file_on_this_machine_comes_without_a_proxy(server, desk, monkeypatch):
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    desk.get(a_file(f"{server.url}/a.txt"), retries=0)
    assert desk.to.read_bytes() == BODY


@pytest.mark.parametrize(
    ("proxy", "line"),
    [
        (
            "socks5://127.0.0.1:9",
            r"ALL_PROXY = socks5://127.0.0.1:9: a SOCKS proxy needs the package",
        ),
        (
            "odd://me:s3cret@x",
            r"invalid proxy \(.*odd.*\); check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY",
        ),
    ],
)
def test_a_proxy_that_cannot_be_used_is_one_line(desk, monkeypatch, proxy, line):
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(UserError, match=line) as error:
        transfer.client(timeout=20)
    assert "s3cret" not in str(error.value)


def all_of(desk, files, retries=0, at=lambda position: None):
    """Fetch them side by side; returns what `fetch_all` does."""
    shutil.rmtree(desk.to.parent, ignore_errors=True)
    places = [(file, desk.to.parent / file.name) for file in files]
    with transfer.client(timeout=20) as client:
        network = transfer.Network(client, retries, desk.said.append, desk.slept.append)
        return fetch_all(places, desk.downloads, None, network, at, 3)


def shards(server, count):
    """Files of other contents on the server, as the table lists them."""
    bodies = [bytes([number]) * 200_000 for number in range(count)]
    server.files |= {f"{number}.bin": body for number, body in enumerate(bodies)}
    return [
        a_file(
            f"{server.url}/{number}.bin",
            sha256=hashlib.sha256(body).hexdigest(), size=200_000, path=f"{number}.bin",
        )
        for number, body in enumerate(bodies)
    ]  # fmt: skip


def test_files_come_side_by_side_and_in_their_order(server, desk):
    files, positions = shards(server, 8), []
    found = all_of(desk, files, at=positions.append)
    assert found == [(200_000, file.sha256) for file in files]
    for number in range(8):
        assert (desk.to.parent / f"{number}.bin").read_bytes() == bytes([number]) * 200_000
    assert max(positions) == positions[-1] == 1_600_000


def test_a_cut_connection_in_one_file_loses_none_of_the_others(server, desk):
    files, together = shards(server, 3), threading.Barrier(3)

    def once_all_are_asked(answer):
        def wait(handler, body):
            together.wait(30)
            answer(handler, body)

        return wait

    for number, answer in enumerate((behave, cut(50_000), behave)):
        server.plan[f"{number}.bin"] = [once_all_are_asked(answer)]
    with pytest.raises(UserError, match=r"1\.bin: .* the connection broke off"):
        all_of(desk, files)
    whole = [files[0].sha256, files[2].sha256]
    part = [f"{files[1].sha256}.part", f"{files[1].sha256}.part.json"]
    assert desk.kept() == sorted([*whole, *part])
    server.asked.clear()
    all_of(desk, files)
    assert server.asked == [("1.bin", "bytes=50000-")]


def test_each_of_several_files_has_its_own_resume_and_its_own_tries(server, desk):
    files = shards(server, 3)
    for number, length in enumerate((10_000, 20_000, 30_000)):
        server.plan[f"{number}.bin"] = [cut(length)]
    assert len(all_of(desk, files, retries=1)) == 3
    assert sorted(server.asked, key=str) == [
        ("0.bin", "bytes=10000-"),
        ("0.bin", None),
        ("1.bin", "bytes=20000-"),
        ("1.bin", None),
        ("2.bin", "bytes=30000-"),
        ("2.bin", None),
    ]


def test_equal_files_are_fetched_once(server, desk):
    assert (
        len(all_of(desk, [a_file(f"{server.url}/a.txt", path=f"{n}.txt") for n in range(3)])) == 3
    )
    assert server.asked == [("a.txt", None)]
    assert (desk.to.parent / "2.txt").read_bytes() == BODY
