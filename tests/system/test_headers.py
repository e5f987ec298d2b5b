"""The headers of rabbitmq-c: in a folder of their own in newer versions, which warn of the old names."""

import glob
import os
import subprocess
import tempfile
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
NAMES = {"amqp": "amqp", "amqp_framing": "framing", "amqp_ssl_socket": "ssl_socket",
         "amqp_tcp_socket": "tcp_socket"}


class HeadersTest(unittest.TestCase):
    def compile(self, *options):
        sources = glob.glob(os.path.join(ROOT, "common", "broker*.c"))
        self.assertTrue(sources)
        for source in sources:
            done = subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", '-DMAILFLOCK_VERSION="0"', "-Wall",
                                   "-Werror", "-fsyntax-only",
                                   "-I", ROOT, *options, source], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, f"{source}:\n{done.stderr}")

    def test_those_in_the_folder_are_preferred(self):
        """Where the library is an old one, this makes the folder, and the warning of the old names."""
        if os.path.exists("/usr/include/rabbitmq-c/amqp.h"):
            self.compile()
            return
        with tempfile.TemporaryDirectory() as place:
            os.mkdir(os.path.join(place, "rabbitmq-c"))
            for old, new in NAMES.items():
                with open(os.path.join(place, f"{old}.h"), "w") as header:
                    header.write(f"#ifndef BY_FOLDER\n#warning the old name\n#endif\n#include_next <{old}.h>\n")
                with open(os.path.join(place, "rabbitmq-c", f"{new}.h"), "w") as header:
                    header.write(f"#ifndef BY_FOLDER\n#define BY_FOLDER\n#endif\n#include <{old}.h>\n")
            self.compile("-I", place)

    def test_the_old_names_do(self):
        self.compile()


if __name__ == "__main__":
    unittest.main()
