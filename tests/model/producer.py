"""The model of a run's publication: two producers (a run command and `due`), the broker, an operator, and
consumers that finish a chunk in one step. Mirrors producer/publish.c, publisher.c, republish.c, run_row.c
and due.c. A recipient is a number that stands for its place in the audience; chunks hold one, pages two."""

from collections import namedtuple

EVENTS = ("crash", "connection", "returned", "unconfirmed", "cancel", "leaves", "reopen")
SWITCHES = ("P1.connection", "P2.number", "P2.last", "P3.returned", "P4.queued", "P4.attempt", "P5.outbox",
            "P5.empty", "P5.done", "P6.resume", "P6.sweep", "O2.columns")

IDS = ("8", "9", "10", "11")  # in the audience's order, which is not that of texts
PAGE = 2

PLANNED, QUEUED, DONE = range(3)

# Of table run. over: publishing was done once, the audience is not read again.
Run = namedtuple("Run", "open cancelled over completed")
Chunk = namedtuple("Chunk", "recipient state attempt")
Message = namedtuple("Message", "chunk attempt filled")
Flight = namedtuple("Flight", "chunk attempt")

# A producer at work. next_no, place: where its reading of the audience stands. todo: planned chunks it
# found; flights: published, not confirmed; missed: something was refused or lost.
Producer = namedtuple("Producer", "phase next_no place todo flights missed")
OUTBOX, PAGES, FINISH = range(3)

# lock: whose GET_LOCK it is. gone: recipients who left the audience. cancelled: 1 once the operator was told
# that the run is, 2 when something was sent after that.
State = namedtuple("State", "run chunks broker producers lock gone sent skipped reopened cancelled budget")

FREE = -1


class ProducerModel:
    """recipients in the audience; off names switches; all other arguments are events and how often."""

    def __init__(self, recipients=3, off=(), **budget):
        unknown = set(off) - set(SWITCHES) | set(budget) - set(EVENTS)
        if unknown:
            raise ValueError(f"no such switch or event: {sorted(unknown)}")
        self.n = recipients
        self.on = {name: name not in off for name in SWITCHES}
        self.budget = tuple(budget.get(event, 0) for event in EVENTS)

    def initial(self):
        zero = (0,) * self.n
        return State((), (), (), ((), ()), FREE, 0, zero, zero, zero, 0, self.budget)

    def successors(self, s):
        out = []
        for i, p in enumerate(s.producers):
            if not p:
                self.start(s, i, out)
            else:
                self.strike(s, i, p, out)
                self.confirm(s, i, p, out)
                (self.outbox, self.pages, self.finish)[p.phase](s, i, p, out)
        self.consume(s, out)
        self.operate(s, out)
        return out

    # --- promises

    def violation(self, s):
        if s.cancelled == 2:
            return "resurrected: a mail of a cancelled run was sent"
        for r, times in enumerate(s.sent):
            if times > 1 + s.reopened[r]:
                return f"twice: recipient {IDS[r]} was sent {times} times"
        if not s.run or not s.run.completed:
            return None
        if any(c.state != DONE for c in s.chunks):
            return "wrong: the run is complete with an unfinished chunk"
        if s.cancelled:
            return None
        missing = [IDS[r] for r in range(self.n) if not (s.sent[r] or s.gone >> r & 1)]
        return f"lost: the run is complete without {missing}" if missing else None

    def is_final(self, s):
        return bool(s.run and s.run.completed and not s.broker and s.producers == ((), ()))

    # --- help

    def can(self, s, event):
        return s.budget[EVENTS.index(event)] > 0

    def spend(self, s, event):
        i = EVENTS.index(event)
        return s.budget[:i] + (s.budget[i] - 1,) + s.budget[i + 1:]

    def add(self, out, label, s, is_fault=False, **changes):
        s = s._replace(**changes)
        out.append((label, is_fault, s._replace(broker=tuple(sorted(s.broker)))))

    def placed(self, s, i, p):
        return tuple(p if j == i else other for j, other in enumerate(s.producers))

    def gone_from(self, s, i):
        """What is left when producer i ends: its connection, and with it the lock."""
        return dict(producers=self.placed(s, i, ()), lock=FREE if s.lock == i else s.lock)

    def cut_off(self, s, i):
        """P1: whoever lost the lock lost the connection for its statements too."""
        return s.lock != i and self.on["P1.connection"]

    # --- a producer begins (P2, P6)

    def start(self, s, i, out):
        if s.lock != FREE:
            return
        if not s.run:
            if i == 0:
                p = Producer(OUTBOX, 0, -1, (), (), 0)
                self.add(out, "a producer creates the run", s, run=Run(1, 0, 0, 0), lock=i,
                         producers=self.placed(s, i, p))
            return
        if s.run.open and self.on["P6.resume"]:
            p = Producer(OUTBOX, len(s.chunks), self.last_place(s), self.planned(s), (), 0)
            self.add(out, "due: a producer takes up the open run", s, lock=i, producers=self.placed(s, i, p))
        elif not s.run.open and not s.run.completed and self.on["P6.sweep"] and self.finished(s):
            self.add(out, "due: the run is complete", s, run=s.run._replace(completed=1))

    def last_place(self, s):
        """The last recipient of the greatest chunk number; or, wrongly, the greatest id as a text."""
        if not s.chunks:
            return -1
        if self.on["P2.last"]:
            return s.chunks[-1].recipient
        return max((c.recipient for c in s.chunks), key=lambda r: IDS[r])

    def planned(self, s):
        if not self.on["P5.outbox"]:
            return ()
        return tuple(no for no, c in enumerate(s.chunks) if c.state == PLANNED)

    def finished(self, s):
        return all(c.state == DONE for c in s.chunks)

    # --- what strikes it

    def strike(self, s, i, p, out):
        if self.can(s, "crash"):
            self.add(out, "a producer crashes", s, True, budget=self.spend(s, "crash"),
                     **self.gone_from(s, i))
        if s.lock == i and self.can(s, "connection"):
            self.add(out, "a producer's connection is lost, it does not know", s, True, lock=FREE,
                     budget=self.spend(s, "connection"))
        if p.flights and self.can(s, "unconfirmed"):
            self.add(out, "a producer loses the broker with messages unconfirmed", s, True,
                     budget=self.spend(s, "unconfirmed"),
                     producers=self.placed(s, i, p._replace(flights=(), missed=1)))

    # --- publishing (P3, P4)

    def publish(self, s, i, p, no, label, out):
        """Publishes chunk no. A range that has become empty is published empty (P5)."""
        chunk = s.chunks[no]
        filled = 0 if s.gone >> chunk.recipient & 1 and chunk.attempt == 1 else 1
        message, flight = Message(no, chunk.attempt, filled), Flight(no, chunk.attempt)
        if not filled and not self.on["P5.empty"]:
            self.add(out, f"{label}: its range is empty, nothing is published", s,
                     producers=self.placed(s, i, p))
            return
        waiting = p._replace(flights=p.flights + (flight,))
        broker = s.broker + (message,) if s.broker.count(message) < 2 else s.broker
        self.add(out, label, s, broker=broker, producers=self.placed(s, i, waiting))
        if self.can(s, "returned"):
            refused = p._replace(missed=1) if self.on["P3.returned"] else waiting
            self.add(out, f"{label}: returned, then acked", s, True, budget=self.spend(s, "returned"),
                     producers=self.placed(s, i, refused))

    def confirm(self, s, i, p, out):
        """A confirm comes and the chunk is marked queued."""
        if not p.flights:
            return
        flight, rest = p.flights[0], p.flights[1:]
        if self.cut_off(s, i):
            self.add(out, "a producer finds its connection gone, ends", s, **self.gone_from(s, i))
            return
        chunk = s.chunks[flight.chunk]
        same = chunk.attempt == flight.attempt or not self.on["P4.attempt"]
        if (chunk.state == PLANNED and same) or not self.on["P4.queued"]:
            chunk = chunk._replace(state=QUEUED)
        chunks = s.chunks[:flight.chunk] + (chunk,) + s.chunks[flight.chunk + 1:]
        self.add(out, f"confirmed: a producer marks chunk {flight.chunk} queued", s, chunks=chunks,
                 producers=self.placed(s, i, p._replace(flights=rest)))

    # --- its phases (P2, P5)

    def outbox(self, s, i, p, out):
        if p.todo:
            self.publish(s, i, p._replace(todo=p.todo[1:]), p.todo[0],
                         f"a producer publishes planned chunk {p.todo[0]}", out)
        elif not p.flights:
            if p.missed:
                p = p._replace(todo=self.planned(s), missed=0)
            else:
                over = s.run.over or s.run.cancelled
                p = p._replace(phase=FINISH if over else PAGES)
            self.add(out, "a producer looks what is next", s, producers=self.placed(s, i, p))

    def pages(self, s, i, p, out):
        """One page: its chunk rows in one INSERT, then the first of its messages; the rest follows as what is
        planned does, which is the same messages in the same order."""
        if p.todo:
            self.publish(s, i, p._replace(todo=p.todo[1:]), p.todo[0],
                         f"a producer publishes chunk {p.todo[0]}", out)
            return
        if p.missed:
            again = p._replace(phase=OUTBOX)
            self.add(out, "a producer makes up for what was missed", s, producers=self.placed(s, i, again))
        elif self.cut_off(s, i):
            self.add(out, "a producer finds its connection gone, ends", s, **self.gone_from(s, i))
        elif s.run.cancelled:
            self.add(out, "a producer finds the run cancelled, ends", s, **self.gone_from(s, i))
        else:
            self.read_page(s, i, p, out)

    def read_page(self, s, i, p, out):
        page = [r for r in range(p.place + 1, self.n) if not s.gone >> r & 1][:PAGE]
        if not page:
            self.add(out, "a producer has read all", s, producers=self.placed(s, i, p._replace(phase=FINISH)))
            return
        first = p.next_no if self.on["P2.number"] else len(s.chunks)
        if first < len(s.chunks):
            self.add(out, f"INSERT of chunk {first}: duplicate key, a producer ends", s,
                     **self.gone_from(s, i))
            return
        chunks = s.chunks + tuple(Chunk(r, PLANNED, 1) for r in page)
        if len(chunks) > 2 * self.n:
            return  # enough to have seen the duplicates
        numbers = tuple(range(first, len(chunks)))
        p = p._replace(next_no=len(chunks), place=page[-1], todo=numbers)
        self.add(out, f"a producer plans chunks {numbers}", s, chunks=chunks, producers=self.placed(s, i, p))

    def finish(self, s, i, p, out):
        if p.flights:
            return
        if p.missed:
            again = p._replace(phase=OUTBOX)
            self.add(out, "a producer makes up for what was missed", s, producers=self.placed(s, i, again))
            return
        if self.cut_off(s, i):
            self.add(out, "a producer finds its connection gone, ends", s, **self.gone_from(s, i))
            return
        run = s.run
        if not any(c.state == PLANNED for c in s.chunks) or not self.on["P5.done"]:
            run = run._replace(open=0, over=1, completed=int(run.completed or self.finished(s)))
            if not self.on["O2.columns"]:  # one column for both facts
                run = run._replace(cancelled=0)
        self.add(out, "a producer says publishing is done", s, run=run, **self.gone_from(s, i))

    # --- consumers and the operator

    def consume(self, s, out):
        for message in dict.fromkeys(s.broker):
            at = s.broker.index(message)
            rest, chunk = s.broker[:at] + s.broker[at + 1:], s.chunks[message.chunk]
            if chunk.state == DONE or message.attempt < chunk.attempt:
                self.add(out, f"a consumer drops a message of chunk {message.chunk}", s, broker=rest)
                continue
            done = s.chunks[:message.chunk] + (chunk._replace(state=DONE),) + s.chunks[message.chunk + 1:]
            count = list(s.skipped if s.run.cancelled else s.sent)
            count[chunk.recipient] += message.filled
            if s.run.cancelled:
                self.add(out, f"a consumer skips chunk {message.chunk}", s, broker=rest, chunks=done,
                         skipped=tuple(count))
            else:
                self.add(out, f"a consumer sends chunk {message.chunk}", s, broker=rest, chunks=done,
                         sent=tuple(count), cancelled=2 * s.cancelled)

    def operate(self, s, out):
        if not s.run:
            return
        if self.can(s, "leaves"):
            for r in range(self.n):
                if not s.gone >> r & 1 and not s.sent[r]:
                    self.add(out, f"recipient {IDS[r]} leaves the audience", s, gone=s.gone | 1 << r,
                             budget=self.spend(s, "leaves"))
        if self.can(s, "cancel") and not s.run.completed and not s.run.cancelled:
            self.add(out, "the operator cancels the run", s, run=s.run._replace(cancelled=1), cancelled=1,
                     budget=self.spend(s, "cancel"))
        if self.can(s, "reopen") and not s.run.cancelled:
            for no, chunk in enumerate(s.chunks):
                if chunk.state == DONE and s.sent[chunk.recipient]:
                    reopened = list(s.reopened)
                    reopened[chunk.recipient] += 1
                    planned = chunk._replace(state=PLANNED, attempt=chunk.attempt + 1)
                    self.add(out, f"the operator has chunk {no} sent again", s,
                             chunks=s.chunks[:no] + (planned,) + s.chunks[no + 1:], reopened=tuple(reopened),
                             run=s.run._replace(open=1, completed=0), budget=self.spend(s, "reopen"))
