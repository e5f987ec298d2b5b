"""What ./dev demo needs of database and broker: sample data, a virtual host of its own."""

import base64
import json
import os
import urllib.error
import urllib.parse
import urllib.request

import pymysql
from pymysql.constants import CLIENT

def connect(database):
    """Autocommit; the caller closes it."""
    return pymysql.connect(
        host=os.environ["MAILFLOCK_DATABASE_HOST"], port=int(os.environ["MAILFLOCK_DATABASE_PORT"]),
        user=os.environ["MAILFLOCK_DATABASE_USER"],
        password=os.environ["MAILFLOCK_DATABASE_PASSWORD"],
        database=database, charset="utf8mb4", autocommit=True, connect_timeout=10,
        client_flag=CLIENT.MULTI_STATEMENTS)


class Sample:
    """A file of config/samples: recipients by number, and a view left_out of all who get nothing."""

    def __init__(self, db, path):
        self.db = db
        with open(path, encoding="utf-8") as file:
            self.sql = file.read()

    def load(self, first, last):
        with self.db.cursor() as cursor:
            cursor.execute("SET @first = %s, @last = %s", (first, last))
            cursor.execute(self.sql)
            while cursor.nextset():
                pass


class Broker:
    """A virtual host, by RabbitMQ's management API."""

    def __init__(self, vhost):
        self.vhost = vhost
        # A proxy of the caller's has no business on loopback.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(self, method, path, body=None):
        user, password = (os.environ[f"MAILFLOCK_BROKER_{part}"] for part in ("USER", "PASSWORD"))
        account = base64.b64encode(f"{user}:{password}".encode()).decode()
        request = urllib.request.Request(
            os.environ["MF_MGMT_URL"] + "/api" + path, method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {account}", "Content-Type": "application/json"})
        with self.opener.open(request, timeout=30) as response:
            text = response.read()
        return json.loads(text) if text else None

    def recreate(self):
        """Empty, whatever an earlier demo left in it."""
        try:
            self.call("DELETE", f"/vhosts/{self.vhost}")
        except urllib.error.HTTPError as e:
            if e.code != 404:
                raise
        self.call("PUT", f"/vhosts/{self.vhost}", {})
        user = urllib.parse.quote(os.environ["MAILFLOCK_BROKER_USER"], safe="")
        self.call("PUT", f"/permissions/{self.vhost}/{user}",
                  {"configure": ".*", "write": ".*", "read": ".*"})
