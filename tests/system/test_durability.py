"""A database that does not keep what it committed: worker and `mailflock init` warn where its settings
allow that, and a worker that sees it happen ends. The database is this test's own."""

import os
import pwd
import re
import shutil
import struct
import unittest

import pymysql

import private_services

services = private_services.start(
    mariadb_options="--log-bin --sync-binlog=1 --rpl-semi-sync-master-wait-point=AFTER_SYNC")
unittest.addModuleCleanup(services.stop)

from flow import FlowTest  # noqa: E402 (harness takes the services' addresses)
from harness import ENV, Stage, wait_until  # noqa: E402

COM_REGISTER_SLAVE = 0x15


def as_root():
    """As whoever started the server."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    return pymysql.connect(unix_socket=ENV["MF_DB_SOCKET"], user=user)


class SettingsTest(unittest.TestCase):
    def setUp(self):
        self.stage = self.enterContext(Stage(recipients=1))

    def set_global(self, **values):
        """For the rest of the test."""
        for name, value in values.items():
            before = self.stage.value(f"SELECT @@GLOBAL.{name}")
            self.addCleanup(services.sql_as_root, f"SET GLOBAL {name}={before!r}")
            services.sql_as_root(f"SET GLOBAL {name}={value!r}")

    def warnings(self, log):
        return re.findall(r'level=warn .*mod=durability msg="(\w+)', log)

    def assert_warned_of(self, *settings):
        """By both programs, once for each of the settings."""
        init = self.stage.run_program("mailflock", "init")
        self.assertEqual(self.warnings(init.stderr), list(settings))
        worker = self.stage.start_consumer()
        self.assertEqual(worker.stop(), 0)
        self.assertEqual(self.warnings(worker.text()), list(settings))

    def test_nothing_is_said_of_a_durable_server(self):
        self.assert_warned_of()

    def test_commits_that_need_not_reach_the_disk(self):
        self.set_global(innodb_flush_log_at_trx_commit=2, sync_binlog=0)
        self.assert_warned_of("innodb_flush_log_at_trx_commit", "sync_binlog")

    def test_replicas_that_commits_do_not_wait_for(self):
        with as_root() as replica:
            number, port = 4711, 3306
            register = struct.pack("<IxxxHII", number, port, 0, 0)
            replica._execute_command(COM_REGISTER_SLAVE, register)
            replica._read_ok_packet()
            self.assert_warned_of("rpl_semi_sync_master_enabled")
        self.assert_warned_of()

    def test_replicas_that_only_the_list_of_processes_shows(self):
        self.addCleanup(services.sql_as_root, "REVOKE PROCESS ON *.* FROM mailflock@'127.0.0.1'")
        services.sql_as_root("GRANT PROCESS ON *.* TO mailflock@'127.0.0.1'")
        log = os.path.basename(self.stage.value("SELECT @@log_bin_basename")) + ".000001"
        reader = self.stage.start("reader", ["mariadb-binlog", "--no-defaults", "-S",
                                             ENV["MF_DB_SOCKET"], "--read-from-remote-server",
                                             "--stop-never", log])
        dumps = "SELECT COUNT(*) FROM information_schema.processlist WHERE command='Binlog Dump'"
        with as_root() as db, db.cursor() as cursor:
            wait_until(lambda: cursor.execute(dumps) and cursor.fetchone()[0], 60, "the reader")
        self.assert_warned_of("rpl_semi_sync_master_enabled")
        reader.kill()

    def test_a_wait_for_replicas_that_comes_too_late_or_was_given_up(self):
        self.set_global(rpl_semi_sync_master_timeout=10, rpl_semi_sync_master_enabled="ON",
                        rpl_semi_sync_master_wait_point="AFTER_COMMIT")
        self.stage.execute("UPDATE subscriber SET name='x'")  # and nobody says that he has it
        self.assert_warned_of("rpl_semi_sync_master_wait_point", "Rpl_semi_sync_master_status")


class LostCommitsTest(FlowTest):
    def swap_data(self, was, now):
        """While the worker sees nothing of it, the server is stopped, its data becomes a copy (now) or is
        copied first (was), and it is started again."""
        (worker,) = self.workers
        data = os.path.join(services.dir, ".dev", "mariadb", "data")
        worker.freeze()
        services.end("mariadb")
        if now:
            shutil.rmtree(data)
            os.rename(now, data)
        else:
            shutil.copytree(data, was)
        services.begin("mariadb")
        self.stage._db = None
        worker.thaw()

    def test_a_backup_is_put_back(self):
        """PROTOCOL C13: what the worker has sent is not sent again."""
        people = 1000
        self.flow(recipients=people, workers=1, campaign={"audience": {"chunk": people}})
        copy = os.path.join(services.dir, "copy")
        self.swap_data(was=copy, now=None)
        self.more(100)
        self.swap_data(was=None, now=copy)
        (worker,) = self.workers
        self.assertEqual(worker.wait(60), 1, worker.text())
        self.assertRegex(worker.text(), 'level=error .*has lost commits.*server="')
        accepted = self.accepted()
        started, seq = self.stage.one("SELECT started, seq FROM chunk")
        recorded = self.stage.counts(self.run_id)["sent"]
        self.assertGreater(len(accepted), recorded + 80, "commits were lost")
        self.assertLessEqual(max(position for _, position in accepted), started)
        self.workers = [self.stage.start_consumer()]
        self.assert_exact(unknown=started - recorded)
        self.assertEqual(self.stage.counts(self.run_id)["unknown"], started - recorded)


if __name__ == "__main__":
    unittest.main(verbosity=2)
