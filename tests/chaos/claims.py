"""The database's own note of every claim: a trigger on table chunk writes down whom a chunk was
taken over from, and which positions were ambiguous at that moment: below the watermark, without an
outcome of the attempt. So no window goes unseen, whatever it came from."""

TABLE = """CREATE TABLE chaos_claim (
  id BIGINT AUTO_INCREMENT PRIMARY KEY, at DATETIME(6) NOT NULL, run_id BIGINT NOT NULL,
  chunk_no INT NOT NULL, attempt INT NOT NULL, claims INT NOT NULL, started INT NOT NULL, owner VARCHAR(64) NOT NULL,
  was_held TINYINT NOT NULL, last_owner VARCHAR(64), last_lease DATETIME(6),
  answered MEDIUMTEXT, deferred MEDIUMTEXT)"""

TRIGGER = """CREATE TRIGGER chaos_claim AFTER UPDATE ON chunk FOR EACH ROW
IF NEW.token IS NOT NULL AND NOT NEW.token <=> OLD.token THEN
  INSERT INTO chaos_claim (at, run_id, chunk_no, attempt, claims, started, owner, was_held,
                           last_owner, last_lease, answered, deferred)
  SELECT UTC_TIMESTAMP(6), NEW.run_id, NEW.chunk_no, NEW.attempt, NEW.claims, OLD.started, NEW.owner,
         OLD.token IS NOT NULL, OLD.owner, OLD.lease_until,
         GROUP_CONCAT(IF(d.status='deferred' AND d.attempt<NEW.attempt, NULL, d.position)),
         GROUP_CONCAT(IF(d.status='deferred' AND d.attempt<NEW.attempt, d.position, NULL))
  FROM delivery d WHERE d.run_id=NEW.run_id AND d.chunk_no=NEW.chunk_no AND d.position<OLD.started;
END IF"""


def _positions(text):
    return {int(p) for p in text.split(",")} if text else set()


class Claim:
    def __init__(self, row):
        (self.at, self.run, self.chunk, self.attempt, self.claims, self.started, self.owner, self.was_held,
         self.last_owner, self.last_lease, answered, deferred) = row
        if self.attempt == 1:
            self.ambiguous = set(range(self.started)) - _positions(answered)
        else:
            self.ambiguous = _positions(deferred)

    def __str__(self):
        took = f"from {self.last_owner} (lease until {self.last_lease})" if self.was_held else "free"
        return (f"{self.at} run={self.run} chunk={self.chunk} attempt={self.attempt} "
                f"claims={self.claims} by {self.owner}, {took}, watermark {self.started}, "
                f"{len(self.ambiguous)} ambiguous")


def watch(stage):
    stage.execute(TABLE)
    stage.execute(TRIGGER)


def read(stage):
    return [Claim(row) for row in stage.rows(
        "SELECT at, run_id, chunk_no, attempt, claims, started, owner, was_held, last_owner, "
        "last_lease, answered, deferred FROM chaos_claim ORDER BY id")]


def windows(claims, lease_s):
    """What each crash, freeze or outage of a worker left ambiguous, the largest first: (positions,
    worker, when its last lease ended). Leases of one end within the time of one."""
    by_worker = {}
    for claim in claims:
        if claim.was_held and claim.ambiguous:
            by_worker.setdefault(claim.last_owner, []).append(claim)
    found = []
    for worker, lost in by_worker.items():
        lost.sort(key=lambda claim: claim.last_lease)
        first = None
        for claim in lost:
            if not first or (claim.last_lease - first).total_seconds() > lease_s:
                first = claim.last_lease
                found.append([0, worker, None])
            found[-1][0] += len(claim.ambiguous)
            found[-1][2] = claim.last_lease
    return sorted(found, key=lambda one: -one[0])


def times_ambiguous(claims):
    """(run, chunk, position) -> in how many takeovers it was ambiguous."""
    times = {}
    for claim in claims:
        for position in claim.ambiguous:
            key = claim.run, claim.chunk, position
            times[key] = times.get(key, 0) + 1
    return times
