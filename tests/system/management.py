"""RabbitMQ's management API, for one virtual host."""

import base64
import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from environment import ENV


class Management:
    """What it says of connections and queues is up to 5 s old; Stage.ready and Stage.consumers are
    not."""

    def __init__(self, vhost):
        self.vhost = vhost
        self.path = urllib.parse.quote(vhost, safe="")

    def call(self, method, path, body=None):
        request = urllib.request.Request(ENV["MF_MGMT_URL"] + "/api" + path, method=method)
        account = f"{ENV['MAILFLOCK_BROKER_USER']}:{ENV['MAILFLOCK_BROKER_PASSWORD']}"
        request.add_header("Authorization", "Basic " + base64.b64encode(account.encode()).decode())
        request.add_header("Content-Type", "application/json")
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(request, data, timeout=60) as response:
            text = response.read()
        return json.loads(text) if text else None

    def create(self):
        self.call("PUT", f"/vhosts/{self.path}", {})
        user = urllib.parse.quote(ENV["MAILFLOCK_BROKER_USER"], safe="")
        self.call("PUT", f"/permissions/{self.path}/{user}",
                  {"configure": ".*", "write": ".*", "read": ".*"})

    def delete(self):
        try:
            self.call("DELETE", f"/vhosts/{self.path}")
        except urllib.error.HTTPError as e:
            if e.code != 404:
                raise

    def queues(self):
        """name -> what the API says of it: messages, messages_ready, messages_unacknowledged..."""
        return {q["name"]: q for q in self.call("GET", f"/queues/{self.path}")}

    def connections(self):
        return self.call("GET", f"/vhosts/{self.path}/connections")

    def close_connections(self, reason="closed by a test"):
        """Closes all connections of this vhost, the newest too."""
        subprocess.run([ENV["MF_RABBITMQCTL"], "close_all_connections", "--vhost", self.vhost, reason],
                       check=True, stdout=subprocess.DEVNULL, timeout=60)
