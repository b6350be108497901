"""The floor of POST /invoices: Flask, one XADD of two fields, the same web server with the same settings.

python -m bench.peers.bare_flask REDIS_URL PORT
"""

from __future__ import annotations

import sys

import flask
import redis

from bench.peers.serving import serve


def make_app() -> flask.Flask:
    app = flask.Flask(__name__)
    client = redis.Redis.from_url(sys.argv[1])

    @app.post("/invoices")
    def post_invoice() -> tuple[dict[str, str], int]:
        position = client.xadd(
            "bare", {"EventTypeName": "InvoiceCreated", "Payload": flask.request.get_data()}
        )
        return {"position": str(position)}, 201

    return app


if __name__ == "__main__":
    serve(__spec__.name, int(sys.argv[2]))
