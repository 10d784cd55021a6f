"""moto's S3 on loopback, as a real server: it checks signatures, and cuts an answer where a test
plans it.
"""

import contextlib
import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest

pytest.importorskip("moto", reason="the packages of the extra s3, and moto, are not installed")

from botocore.session import get_session
from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.moto_api._internal import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "shelf"
ALLOWED = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}  # fmt: skip


@dataclass
class S3:
    """The server: what it was `asked` (path and Range), and bytes after which an answer is cut, by
    path, once each.
    """

    app: DomainDispatcherApplication
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    url: str = ""
    keys: tuple[str, str] = ("", "")

    def __call__(self, environ, start_response) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        self.asked.append((path, environ.get("HTTP_RANGE")))
        body = self.app(environ, start_response)
        planned = self.cuts.get(path)
        if planned:
            return [b"".join(body)[: planned.pop(0)]]  # of the length that was announced
        return body

    def client(self, service: str = "s3"):
        """botocore's own, with the right keys."""
        return get_session().create_client(
            service, endpoint_url=self.url, region_name="us-east-1",
            aws_access_key_id=self.keys[0], aws_secret_access_key=self.keys[1],
        )  # fmt: skip

    def put(self, key: str, body: bytes) -> None:
        self.client().put_object(Bucket=BUCKET, Key=key, Body=body)


class Quiet(WSGIRequestHandler):
    def log(self, *words) -> None:
        """Keep quiet."""


@contextlib.contextmanager
def serving_s3() -> Iterator[S3]:
    """A server with an empty bucket and one user, whose keys it demands."""
    s3 = S3(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, s3, threaded=True, request_handler=Quiet)
    s3.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        moto_api_backend.reset()
        s3.keys = ("first", "key")
        iam = s3.client("iam")
        iam.create_user(UserName="u")
        iam.put_user_policy(UserName="u", PolicyName="p", PolicyDocument=json.dumps(ALLOWED))
        made = iam.create_access_key(UserName="u")["AccessKey"]
        s3.keys = (made["AccessKeyId"], made["SecretAccessKey"])
        s3.client().create_bucket(Bucket=BUCKET)
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
        ActionAuthenticatorMixin.request_count = 0
        yield s3
    finally:
        settings.INITIAL_NO_AUTH_ACTION_COUNT = float("inf")
        server.shutdown()
        server.server_close()
        thread.join()
