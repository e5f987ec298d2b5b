"""Passwords of database and broker are rotated while workers run: whoever is refused reads the password
again, and ends after start_limit, with the reason, where that does not help."""

import os
import subprocess
import unittest
import urllib.parse
import uuid

from environment import ENV
from flow import FlowTest
from harness import Stage, wait_until


def as_root(*statements):
    subprocess.run(["mariadb", "--no-defaults", "-S", ENV["MF_DB_SOCKET"], "-e", ";".join(statements)],
                   check=True, timeout=60, stdout=subprocess.DEVNULL)


class Account:
    """With a password in a file of its own. kind: the middle of the variables' names."""

    def __init__(self, test, kind):
        self.name = "mf" + uuid.uuid4().hex[:10]
        self.file = f"/tmp/mailflock-password-{self.name}"
        test.addCleanup(os.unlink, self.file)
        self.write("first")
        test.addCleanup(self.drop)
        self.create("first")
        self.env = {f"MAILFLOCK_{kind}_USER": self.name, f"MAILFLOCK_{kind}_PASSWORD": None,
                    f"MAILFLOCK_{kind}_PASSWORD_FILE": self.file}

    def write(self, password):
        with open(self.file, "w", encoding="ascii") as file:
            file.write(password + "\n")


class DatabaseAccount(Account):
    back = "database connection is back"
    refused = r'msg="no database" .*(Access denied|locked)'
    ended = "the database refuses the login"

    def __init__(self, test):
        super().__init__(test, "DATABASE")

    def create(self, password):
        as_root(f"CREATE USER {self.name} IDENTIFIED BY '{password}'",
                f"GRANT ALL ON *.* TO {self.name}")

    def alter(self, what):
        as_root(f"ALTER USER {self.name} {what}")

    def change(self, password):
        self.alter(f"IDENTIFIED BY '{password}'")

    def cut(self, stage):
        as_root(f"KILL USER {self.name}")

    def drop(self):
        as_root(f"DROP USER IF EXISTS {self.name}")


class BrokerAccount(Account):
    back = 'mod=broker msg="connected"'
    refused = r'msg="no broker" .*refused the login'
    ended = "RabbitMQ refuses the login"

    def __init__(self, test):
        super().__init__(test, "BROKER")

    def path(self, stage):
        return f"/permissions/{stage.management.path}/{urllib.parse.quote(self.name)}"

    def create(self, password):
        self.ctl("add_user", self.name, password)

    def ctl(self, *args):
        subprocess.run([ENV["MF_RABBITMQCTL"], *args], check=True, stdout=subprocess.DEVNULL, timeout=60)

    def allow(self, stage):
        stage.management.call("PUT", self.path(stage), {"configure": ".*", "write": ".*", "read": ".*"})

    def change(self, password):
        self.ctl("change_password", self.name, password)

    def cut(self, stage):
        self.ctl("close_all_user_connections", self.name, "closed by a test")

    def drop(self):
        self.ctl("delete_user", self.name)


class WorkerTest(FlowTest):
    def begin(self, account, start_limit="60s", **smtp):
        self.account = account
        self.flow(workers=1, lease_s=15, held=True, before=getattr(account, "allow", None),
                  worker_env={**account.env, "MAILFLOCK_START_LIMIT": start_limit}, **smtp)
        self.worker = self.workers[0]
        self.smtp.resume()

    def refused(self):
        """The worker's connection ends, and no other is let in."""
        self.account.cut(self.stage)
        self.worker.wait_for_log(self.account.refused)

    def rotated(self, account, **smtp):
        """Whether the file is written after the account was changed or before."""
        self.begin(account, **smtp)
        account.change("second")
        self.refused()
        account.write("second")
        self.worker.wait_for_log("the password has changed, it is used from now on")
        wait_until(lambda: self.lines(account.back) == 1, 60, "the worker to connect again")
        account.write("third")
        account.change("third")
        account.cut(self.stage)
        wait_until(lambda: self.lines(account.back) == 2, 60, "the worker to connect again")
        self.assert_exact()
        self.assertEqual(self.lines("lease lost"), 0)

    def test_the_databases_is_rotated(self):
        self.rotated(DatabaseAccount(self))

    def test_the_brokers_is_rotated(self):
        self.rotated(BrokerAccount(self), rcpt_defer=0.2)

    def test_an_account_is_locked_for_a_while(self):
        self.begin(DatabaseAccount(self))
        self.account.alter("ACCOUNT LOCK")
        self.refused()
        self.account.alter("ACCOUNT UNLOCK")
        self.worker.wait_for_log(self.account.back)
        self.assert_exact()

    def refused_for_good(self, account, unknown):
        self.begin(account, start_limit="3s")
        account.change("second")
        account.cut(self.stage)
        self.assertEqual(self.worker.wait(60), 1)
        self.assertIn(account.ended, self.worker.text())
        self.workers = [self.stage.start_consumer()]
        self.assert_exact(unknown=unknown)

    def test_the_database_refuses_for_good(self):
        """What is on the way cannot be recorded; another worker does the rest."""
        self.refused_for_good(DatabaseAccount(self), unknown=64)

    def test_the_broker_refuses_for_good(self):
        """Everything is recorded and given back in the ledger."""
        self.refused_for_good(BrokerAccount(self), unknown=0)


class RelayTest(unittest.TestCase):
    def test_the_relays_is_rotated(self):
        """The relay has the second one already; the file gets it while the worker runs."""
        with Stage(recipients=30) as stage:
            file = os.path.join(stage.dir, "relay.password")
            with open(file, "w", encoding="ascii") as first:
                first.write("first\n")
            server = stage.start_starttls(password="second")
            del stage.settings["transports"]["relay"]["password"]
            stage.write_config(transports={"relay": {"password_file": file}})
            run = stage.produce()
            worker = stage.start_consumer()
            worker.wait_for_log('msg="cannot connect" transport=relay .*[Ll]ogin denied')
            with open(file, "w", encoding="ascii") as second:
                second.write("second\n")
            self.assertEqual(stage.wait_quiet(run)["sent"], 30)
            self.assertEqual({mail["user"] for mail in server.mails()}, {"mailflock"})
            self.assertEqual(worker.text().count("the password has changed, it is used from now on"), 1)
            self.assertNotIn("second", worker.text())
            self.assertEqual(worker.stop(), 0)


class ContactsTest(unittest.TestCase):
    def test_rotated_and_refused_for_good(self):
        for kind in (DatabaseAccount, BrokerAccount):
            with self.subTest(kind.__name__), Stage(
                    settings={"contacts": {"exchange": "contacts.events"}}) as stage:
                account = kind(self)
                getattr(account, "allow", lambda _: None)(stage)
                process = stage.start_consumer(
                    "--contacts", ready=False, env={**account.env, "MAILFLOCK_START_LIMIT": "6s"})
                process.wait_for_log("ready")
                account.change("second")
                account.write("second")
                account.cut(stage)
                self.event(stage, "1")
                wait_until(lambda: stage.value("SELECT COUNT(*) FROM contact_cache WHERE id='1'"), 60,
                           "the event")
                account.change("third")
                account.cut(stage)
                self.event(stage, "2")
                self.assertEqual(process.wait(60), 1, process.text())
                self.assertRegex(process.text(), "Access denied|refused the login")

    def event(self, stage, contact):
        stage.publish(f'{{"id":"{contact}","version":1}}', "contact.updated", "contacts.events")


if __name__ == "__main__":
    unittest.main(verbosity=2)
