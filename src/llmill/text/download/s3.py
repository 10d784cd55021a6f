"""`s3://BUCKET/KEY` as an HTTP request. botocore makes the address and signature, and finds
credentials, region and endpoint in the environment and in `~/.aws`, as every tool of AWS does. The
bytes then come like those of any other address (`llmill.text.download.transfer`).

Without credentials, a request has no signature. Public buckets answer it.
"""

import re
import threading
from typing import Any

INSTALL = "s3:// needs botocore; in the repository, `pip install '.[s3]'`"
AMAZON = ".amazonaws.com"
WHOLE_ANSWER = 1 << 16  # bytes of an error's text that are read


class Refusal(Exception):
    """No request can be made; the message is one line."""


def is_s3(address: str) -> bool:
    """Return whether this is the address of an object in S3."""
    return address.lower().startswith("s3://")


class Signer:
    """Makes requests, and keeps what botocore read and found for the next one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # botocore's sessions are for one thread at a time
        self._client: Any = None
        self._credentials: Any = None

    def request(self, address: str) -> tuple[str, dict[str, str]]:
        """Return the URL of an object, and the headers that sign a GET of it. Raises `Refusal`."""
        try:
            from botocore.exceptions import BotoCoreError
        except ImportError:
            raise Refusal(INSTALL) from None
        try:
            with self._lock:
                return self._signed(*address.split("://", 1)[1].split("/", 1))
        except (BotoCoreError, ValueError, OSError) as error:  # botocore's settings raise these
            raise Refusal(" ".join(str(error).split())) from None

    def explain(self, status: int, region: str | None, body: bytes) -> str:
        """Return the reason of a refusal with this status and text, for a bucket in this region."""
        parts = [what_was_said(body)]
        if region and region != self._client.meta.region_name:
            parts.append(f"the bucket is in {region}; set AWS_DEFAULT_REGION={region}")
        elif status in (401, 403):
            parts.append(self._asker())
        return "; ".join(filter(None, parts))

    def _asker(self) -> str:
        if self._credentials is None:
            return "asked without credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        found = {"env": "the environment", "shared-credentials-file": "~/.aws/credentials"}
        method = self._credentials.method
        return f"asked with the credentials of {found.get(method, method)}"

    def _signed(self, bucket: str, key: str) -> tuple[str, dict[str, str]]:
        from botocore import UNSIGNED
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.config import Config
        from botocore.session import get_session

        if self._client is None:
            session = get_session()
            self._credentials = session.get_credentials()
            self._client = session.create_client("s3", config=Config(signature_version=UNSIGNED))
            # Use the region's host, because the global one redirects.
            if self._client.meta.endpoint_url.endswith(AMAZON):
                regional = Config(signature_version=UNSIGNED, s3={"addressing_style": "virtual"})
                self._client = session.create_client("s3", config=regional)
        url = self._client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key})
        if self._credentials is None:
            return url, {}
        request = AWSRequest("GET", url)
        frozen = self._credentials.get_frozen_credentials()  # renewed if they expire
        S3SigV4Auth(frozen, "s3", self._client.meta.region_name).add_auth(request)
        return url, dict(request.headers.items())


def what_was_said(body: bytes) -> str:
    """Return code and message of an answer in S3's XML, or an empty text.

    For example, `NoSuchKey: The specified key does not exist.`
    """
    text = body.decode(errors="replace")
    said = [re.search(rf"<{tag}>\s*(.*?)\s*</{tag}>", text, re.S) for tag in ("Code", "Message")]
    return ": ".join(" ".join(match.group(1).split()) for match in said if match)
