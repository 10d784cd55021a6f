"""Objects of moto's S3 server on loopback: signed, cut off, missing, refused."""

import hashlib
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from llmill.text.download import transfer
from llmill.text.download.fetch import fetch, mirror
from llmill.text.download.sources import File
from tests.text.refusals import refused
from tests.text.server import serving, status

s3_server = pytest.importorskip(
    "tests.text.s3_server", reason="the packages of the extra s3, and moto, are not installed"
)
BODY = bytes(range(256)) * 1200
SIZE = 307_200
SHA256 = hashlib.sha256(BODY).hexdigest()
KEY = "web data/a+b é.parquet"  # what a signature and a URL write differently
PATH = f"/shelf/{KEY}".encode().decode("latin-1")  # as WSGI hands it on


@pytest.fixture(scope="module")
def server():
    with s3_server.serving_s3() as server:
        server.put(KEY, BODY)
        yield server


@pytest.fixture
def desk(server, tmp_path, monkeypatch):
    """A place to fetch to, with the server's keys in the environment, and no other place to look."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "AWS_ACCESS_KEY_ID": server.keys[0],
        "AWS_SECRET_ACCESS_KEY": server.keys[1],
        "AWS_ENDPOINT_URL": server.url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    server.asked.clear()
    desk = SimpleNamespace(
        downloads=tmp_path / "scratch" / "downloads", to=tmp_path / "out" / "a.parquet", said=[]
    )

    def get(file, mirror=None, retries=3):
        desk.to.unlink(missing_ok=True)
        with transfer.client(timeout=20) as client:
            network = transfer.Network(client, retries, desk.said.append, lambda seconds: None)
            return fetch(file, desk.to, desk.downloads, mirror, network, lambda position: None)

    desk.get = get
    return desk


def a_file(*urls, sha256=SHA256, size=SIZE, path=KEY):
    return File(path=path, bytes=size, sha256=sha256, urls=list(urls))


HERE = f"s3://shelf/{KEY}"


def test_an_object_comes_by_a_signed_request_and_is_kept_under_its_hash(server, desk):
    assert desk.get(a_file(HERE)) == (SIZE, SHA256)
    assert desk.to.read_bytes() == BODY
    assert (desk.downloads / SHA256).exists()
    assert server.asked == [(PATH, None)]


def test_a_bucket_may_be_the_mirror(server, desk, monkeypatch):
    monkeypatch.setenv("LLMILL_MIRROR", "s3://shelf")
    assert desk.get(a_file("https://files.invalid/a"), mirror=mirror()) == (SIZE, SHA256)


@pytest.mark.parametrize("known", [{}, {"sha256": None, "size": None}], ids=["pinned", "unknown"])
def test_a_cut_connection_is_continued_where_it_broke(server, desk, known):
    server.cuts[PATH] = [100_000]
    assert desk.get(a_file(HERE, **known)) == (SIZE, SHA256)
    assert desk.to.read_bytes() == BODY
    assert server.asked == [(PATH, None), (PATH, "bytes=100000-")]


def test_a_part_that_an_earlier_run_left_is_continued(server, desk):
    server.cuts[PATH] = [100_000]
    line = refused(desk, a_file(HERE), retries=0)
    assert "the connection broke off" in line
    assert [p.name for p in desk.downloads.glob("*.part")] == [f"{SHA256}.part"]
    desk.get(a_file(HERE), retries=0)
    assert server.asked[-1] == (PATH, "bytes=100000-")


def test_an_object_that_changed_between_the_parts_is_taken_whole(server, desk):
    server.put("moving", BODY)
    server.cuts["/shelf/moving"] = [100_000]
    unknown = a_file("s3://shelf/moving", sha256=None, size=None)
    refused(desk, unknown, retries=0)
    server.put("moving", b"a new edition " * 20_000)
    assert desk.get(unknown)[0] == 280_000
    assert desk.to.read_bytes() == b"a new edition " * 20_000


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://shelf/none", "HTTP 404 Not Found (NoSuchKey: The specified key does not exist.)"),
        ("s3://nowhere/a", "HTTP 404 Not Found (NoSuchBucket: The specified bucket does not exist"),
        ("s3://sh elf/a", 'Parameter validation failed: Invalid bucket name "sh elf"'),
    ],
)
def test_what_is_not_there_is_said_in_a_line(desk, address, said):
    line = refused(desk, a_file(address))
    assert said.partition(" (")[0] in line
    assert said in line


def test_wrong_credentials_are_said_in_a_line_with_where_they_come_from(desk, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    line = refused(desk, a_file(HERE))
    assert "HTTP 403 Forbidden (SignatureDoesNotMatch: The request signature we calculated" in line
    assert "; asked with the credentials of the environment)" in line
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "unknown")
    line = refused(desk, a_file(HERE))
    assert "HTTP 403 Forbidden (InvalidAccessKeyId: The AWS Access Key Id you provided" in line
    assert desk.said[-1].startswith(f"{HERE}: HTTP 403")


def test_no_line_and_no_note_holds_a_key_or_a_signature(server, desk):
    server.cuts[PATH] = [100_000]
    refused(desk, a_file(HERE), retries=0)
    note = (desk.downloads / f"{SHA256}.part.json").read_text()
    for text in (note, *desk.said):
        assert server.keys[0] not in text
        assert "Signature" not in text


def test_without_credentials_the_request_is_not_signed(desk, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with serving() as public:
        public.files["shelf/a.bin"] = BODY
        public.files["shelf/b.bin"] = BODY
        public.plan["shelf/b.bin"] = [status(403)]
        monkeypatch.setenv("AWS_ENDPOINT_URL", public.url)
        desk.get(a_file("s3://shelf/a.bin"))
        line = refused(desk, a_file("s3://shelf/b.bin", sha256=None))
    assert "asked without credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in line


def test_another_region_is_named(desk, monkeypatch):
    with serving() as far:
        far.files["shelf/a.bin"] = BODY
        far.plan["shelf/a.bin"] = [status(301, x_amz_bucket_region="eu-west-1")]
        monkeypatch.setenv("AWS_ENDPOINT_URL", far.url)
        line = refused(desk, a_file("s3://shelf/a.bin"))
    assert "the bucket is in eu-west-1; set AWS_DEFAULT_REGION=eu-west-1" in line


def test_a_signed_request_goes_to_no_other_address(desk, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a secret of an hour")
    with serving() as elsewhere, serving() as near:
        near.files["shelf/a.bin"] = elsewhere.files["a.bin"] = BODY
        near.plan["shelf/a.bin"] = [status(307, location=f"{elsewhere.url}/a.bin?Signature=s")]
        monkeypatch.setenv("AWS_ENDPOINT_URL", near.url)
        line = refused(desk, a_file("s3://shelf/a.bin"))
        assert elsewhere.asked == []
    assert f"HTTP 307 Temporary Redirect (it leads to {elsewhere.url}/a.bin; a signed" in line


def test_a_redirect_that_leads_nowhere_is_said_in_a_line(desk, monkeypatch):
    with serving() as near:
        near.files["shelf/a.bin"] = BODY
        near.plan["shelf/a.bin"] = [status(301)]
        monkeypatch.setenv("AWS_ENDPOINT_URL", near.url)
        assert "HTTP 301 Moved Permanently" in refused(desk, a_file("s3://shelf/a.bin"))


def test_without_botocore_the_line_says_what_to_install(desk, monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore", None)
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    assert "s3:// needs botocore; in the repository, `pip install '.[s3]'`" in refused(
        desk, a_file(HERE)
    )


STORE = """\
[core]
no_scm = true
analytics = false
remote = store
['remote "store"']
url = s3://shelf/dvc
endpointurl = {url}
"""


def dvc(*words, cwd):
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words], cwd=cwd, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_dvc_pushes_to_s3_and_pulls_from_it(server, desk, tmp_path, monkeypatch):
    pytest.importorskip("dvc_s3", reason="dvc-s3, of the extra s3, is not installed")
    first, second = tmp_path / "one", tmp_path / "two"
    for repository in (first, second):
        (repository / ".dvc").mkdir(parents=True)
        (repository / ".dvc/config").write_text(STORE.format(url=server.url))
    (first / "data").mkdir()
    (first / "data/a.bin").write_bytes(BODY)
    (first / "data/b.bin").write_bytes(b"small")
    assert dvc("add", "-q", "data", cwd=first) == (0, "")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    code, said = dvc("push", cwd=first)
    assert code != 0
    assert "Forbidden" in said
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.keys[1])
    assert "3 files pushed" in dvc("push", cwd=first)[1]
    shutil.copy(first / "data.dvc", second)
    assert dvc("pull", cwd=second)[0] == 0
    assert (second / "data/a.bin").read_bytes() == BODY
    assert (second / "data/b.bin").read_bytes() == b"small"
