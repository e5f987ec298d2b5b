"""What ./dev demo needs of database and broker: its table of subscribers, its virtual host."""

import base64
import json
import os
import urllib.error
import urllib.parse
import urllib.request

import pymysql

FAMILY = "김 이 박 최 정 강 조 윤 장 임 한 오 서 신 권".split()
GIVEN = ("민준 서연 지후 하은 도윤 수아 예준 지우 시우 서윤 주원 하윤 건우 민서 은우 다은 유준 채원 "
         "선우 지민").split()
OTHERS = ("Zoë Ångström", "José Muñoz", "Łukasz Żółkiewski", "Jürgen Groß", "Chloé Lefèvre",
          "Søren Kjær", "João Gonçalves", "Ayşe Yıldız", "Nguyễn Thị Hạnh", "Björk Þórsdóttir",
          "Dvořák Jiří", "Στέλιος Καζάν", "山田 太郎", "Seán O'Brien", "Grace Hopper")
EMOJI = ("🌷", "🎈", "☕️", "🚀", "🐑", "👩‍💻", "🇰🇷")
CITIES = "서울 부산 제주 대전 Zürich Kraków Reykjavík Málaga İzmir 京都".split()
PLANS = ("Free", "Plus", "Pro")


def connect(database):
    """Autocommit; the caller closes it."""
    return pymysql.connect(
        host=os.environ["MAILFLOCK_DATABASE_HOST"], port=int(os.environ["MAILFLOCK_DATABASE_PORT"]),
        user=os.environ["MAILFLOCK_DATABASE_USER"],
        password=os.environ["MAILFLOCK_DATABASE_PASSWORD"],
        database=database, charset="utf8mb4", autocommit=True, connect_timeout=10)


def pick(values, number):
    """SQL for one of the values, and its arguments."""
    return f"ELT(1 + ({number}) %% {len(values)}, {','.join(['%s'] * len(values))})", list(values)


class Subscribers:
    """user1@example.net and so on; two in three have Korean names, one in four an emoji in it."""

    def __init__(self, db):
        self.db = db

    def create(self):
        with self.db.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE subscriber (id BIGINT UNSIGNED NOT NULL PRIMARY KEY,"
                " email VARCHAR(320) NOT NULL, name VARCHAR(255) NOT NULL, plan VARCHAR(32) NOT NULL,"
                " city VARCHAR(64) NOT NULL, active TINYINT NOT NULL DEFAULT 1)"
                " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4")

    def load(self, first, last):
        if first > last:
            return
        korean, of_korean = pick([f + g for f in FAMILY for g in GIVEN], "seq * 7 - 7")
        other, of_other = pick(OTHERS, "seq DIV 3")
        emoji, of_emoji = pick(EMOJI, "seq DIV 4")
        plan, of_plan = pick(PLANS, "seq DIV 5")
        city, of_city = pick(CITIES, "seq - 1")
        with self.db.cursor() as cursor:
            cursor.execute(
                "INSERT INTO subscriber (id, email, name, plan, city)"
                " SELECT seq, CONCAT('user', seq, '@example.net'),"
                f" CONCAT(IF(seq %% 3, {korean}, {other}),"
                f" IF(seq %% 4 = 1, CONCAT(' ', {emoji}), '')),"
                f" {plan}, {city} FROM seq_{int(first)}_to_{int(last)}",
                of_korean + of_other + of_emoji + of_plan + of_city)


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
