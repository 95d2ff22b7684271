"""A small model hub on loopback, as far as the real client asks for one: repositories, files, redirects, uploads.

Two servers: the hub itself, and the storage that it redirects to for large files, which is another host to the client.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_" + "t" * 34
"""The one token that the hub knows; it may write."""
READ_ONLY = "hf_" + "r" * 34


@dataclass
class Repository:
    """Commits and the branches and tags that point to them."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    def commit(self, files: dict[str, bytes], branch: str = "main", message: str = "") -> str:
        """Put files on top of a branch; the new commit."""
        whole = self.commits.get(self.refs.get(branch, ""), {}) | files
        sha = hashlib.sha1(repr((len(self.commits), message, sorted(whole.items()))).encode()).hexdigest()
        self.commits[sha] = whole
        self.refs[branch] = sha
        return sha

    def find(self, revision: str) -> str | None:
        """The commit of a branch, tag, commit or beginning of one."""
        if revision in self.refs:
            return self.refs[revision]
        return next((sha for sha in self.commits if len(revision) >= 7 and sha.startswith(revision)), None)


@dataclass
class Seen:
    """A request as it came in."""

    server: str
    method: str
    path: str
    headers: dict[str, str]


class Hub:
    """What the servers know; tests change it while they run."""

    def __init__(self) -> None:
        self.url = self.storage_url = ""
        self.clear()

    def clear(self) -> None:
        """Nothing is there, nothing fails."""
        self.repos: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}  # sha256 -> content, as uploaded
        self.seen: list[Seen] = []
        self.fail: dict[str, int] = {}  # pattern found in "METHOD /path" -> status
        self.cuts = 0  # how many of the next downloads from the storage break off half way
        self.rewrite: dict[str, Any] = {}  # changes of the answer about a repository

    def add(self, name: str, files: dict[str, bytes], **traits: bool) -> Repository:
        """A repository with one commit."""
        repo = self.repos[name] = Repository(**traits)
        repo.commit(files)
        return repo

    def asked(self, pattern: str) -> list[Seen]:
        """The requests whose "METHOD /path" a pattern is found in."""
        return [s for s in self.seen if re.search(pattern, f"{s.method} {s.path}")]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    name = "hub"

    def log_message(self, *args: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str | int) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, value: Any, status: int = 200) -> None:
        self.answer(status, json.dumps(value).encode(), Content_Type="application/json")

    def error(self, status: int, code: str = "", message: str = "") -> None:
        self.answer(status, b"", **({"X_Error_Code": code} if code else {}), X_Error_Message=message or code or "error")

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.body = self.rfile.read(length)
        parts = urlsplit(self.path)
        self.where, self.query = unquote(parts.path), parse_qs(parts.query)
        headers = {k.lower(): v for k, v in self.headers.items()}
        self.hub.seen.append(Seen(self.name, self.command, self.where, headers))
        for pattern, status in self.hub.fail.items():
            if re.search(pattern, f"{self.command} {self.where}"):
                return self.error(status)
        return self.route()

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def route(self) -> None:
        raise NotImplementedError


class _Storage(_Handler):
    name = "storage"

    def route(self) -> None:
        digest = self.where.rsplit("/", 1)[-1]
        if self.command == "PUT":
            if hashlib.sha256(self.body).hexdigest() != digest:
                return self.error(400)
            self.hub.stored[digest] = self.body
            return self.answer(200)
        content = self.hub.stored[digest]
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        part = content[start : int(asked[2]) + 1 if asked and asked[2] else None]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(part)))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return None
        if self.hub.cuts > 0:
            self.hub.cuts -= 1
            self.wfile.write(part[: len(part) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return None
        self.wfile.write(part)
        return None


class _Api(_Handler):
    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def route(self) -> None:
        if self.where == "/api/repos/create":
            return self.create()
        if self.where == "/api/validate-yaml":
            good = json.loads(self.body)["content"].startswith("---\n")
            return self.json({"errors": [] if good else [{"message": "no front matter"}]}, 200 if good else 400)
        match = re.match(r"(?:/api/models)?/([\w.-]+/[\w.-]+?)(\.git)?(/.*)?$", self.where)
        if match is None:
            return self.error(404)
        repo = self.hub.repos.get(match[1])
        if repo is None or (repo.private and self.token not in (TOKEN, READ_ONLY)):
            return self.error(404 if self.token else 401, "RepoNotFound", "Repository not found")
        if repo.gated and self.token != TOKEN:
            return self.error(403 if self.token else 401, "GatedRepo", "Access to this model is restricted")
        rest = match[3] or ""
        if self.command == "POST" and self.token != TOKEN:
            return self.error(403, message="You have no right to write")
        return self.repo(match[1], repo, rest)

    def create(self) -> None:
        wanted = json.loads(self.body)
        name = f"{wanted['organization']}/{wanted['name']}" if wanted.get("organization") else wanted["name"]
        if self.token != TOKEN:
            return self.error(403 if self.token else 401, message="You have no right to write")
        if name in self.hub.repos:
            return self.json({"error": "exists", "url": f"{self.hub.url}/{name}"}, 409)
        self.hub.add(
            name,
            {".gitattributes": b"*.safetensors filter=lfs\n"},
            private=wanted.get("private") or wanted.get("visibility") == "private",
        )
        return self.json({"url": f"{self.hub.url}/{name}", "name": name})

    def repo(self, name: str, repo: Repository, rest: str) -> None:
        api = self.where.startswith("/api/")
        if not api and (match := re.fullmatch(r"/resolve/(.+)/([^/]+)", rest)):
            return self.resolve(repo, match[1], match[2])
        if not api and rest == "/info/lfs/objects/batch":
            return self.batch()
        if not api and rest == "/info/lfs/verify":
            return self.answer(200 if json.loads(self.body)["oid"] in self.hub.stored else 404)
        if self.command == "GET" and (match := re.fullmatch(r"(?:/revision/(.+))?", rest)):
            return self.describe(name, repo, match[1] or "main")
        if match := re.fullmatch(r"/branch/(.+)", rest):
            if match[1] in repo.refs:
                return self.json({"error": "exists"}, 409)
            repo.refs[match[1]] = repo.refs["main"]
            return self.json({})
        if match := re.fullmatch(r"/preupload/(.+)", rest):
            files = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for f in json.loads(self.body)["files"]
            ]
            return self.json({"files": files})
        if match := re.fullmatch(r"/commit/(.+)", rest):
            return self.commit(name, repo, match[1])
        return self.error(404)

    def describe(self, name: str, repo: Repository, revision: str) -> None:
        sha = repo.find(revision)
        if sha is None:
            return self.error(404, "RevisionNotFound")
        siblings = [
            {"rfilename": f, "size": len(c)} | ({"lfs": self.lfs(c)} if f.endswith(".safetensors") else {})
            for f, c in repo.commits[sha].items()
        ]
        info = {"_id": "0", "id": name, "modelId": name, "sha": sha, "private": repo.private, "siblings": siblings}
        return self.json(info | self.hub.rewrite)

    @staticmethod
    def lfs(content: bytes) -> dict[str, Any]:
        return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}

    def resolve(self, repo: Repository, revision: str, file: str) -> None:
        sha = repo.find(revision)
        if sha is None:
            return self.error(404, "RevisionNotFound")
        content = repo.commits[sha].get(file)
        if content is None:
            return self.answer(404, b"", X_Error_Code="EntryNotFound", X_Repo_Commit=sha)
        if not file.endswith(".safetensors"):
            etag = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            return self.answer(200, content, X_Repo_Commit=sha, ETag=f'"{etag}"')
        digest = hashlib.sha256(content).hexdigest()
        self.hub.stored.setdefault(digest, content)
        return self.answer(
            302,
            Location=f"{self.hub.storage_url}/files/{digest}",
            X_Repo_Commit=sha,
            X_Linked_Etag=f'"{digest}"',
            X_Linked_Size=len(content),
        )

    def batch(self) -> None:
        objects = []
        for file in json.loads(self.body)["objects"]:
            verify = re.sub(r"/objects/batch$", "/verify", self.where)
            actions = {
                "upload": {"href": f"{self.hub.storage_url}/files/{file['oid']}", "header": {}},
                "verify": {"href": f"{self.hub.url}{verify}", "header": {}},
            }
            objects.append(file | ({} if file["oid"] in self.hub.stored else {"actions": actions}))
        return self.json({"transfer": "basic", "objects": objects})

    def commit(self, name: str, repo: Repository, branch: str) -> None:
        if branch not in repo.refs:
            return self.error(404, "RevisionNotFound")
        files, message = {}, ""
        for line in self.body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "header":
                message = entry["value"]["summary"]
            elif entry["key"] == "file":
                files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            elif entry["key"] == "lfsFile":
                files[entry["value"]["path"]] = self.hub.stored[entry["value"]["oid"]]
        sha = repo.commit(files, branch, message)
        return self.json({"commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "commitOid": sha, "success": True})


@contextmanager
def serve() -> Iterator[Hub]:
    """A hub that runs within the context."""
    hub = Hub()
    servers = []
    for kind in (_Api, _Storage):
        server = ThreadingHTTPServer(("127.0.0.1", 0), type(kind.__name__, (kind,), {"hub": hub}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
    hub.url = f"http://127.0.0.1:{servers[0].server_port}"
    hub.storage_url = f"http://localhost:{servers[1].server_port}"
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
