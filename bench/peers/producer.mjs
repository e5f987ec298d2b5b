// Pages through the audience by key and publishes it in chunks, with confirms.
import { declareQueue, openBroker, openDatabase, task } from './mail.mjs';

const PAGE_CHUNKS = 10; // chunks that one SELECT yields, and that await their confirms together

const SELECT =
  'SELECT id, email, name, plan, city FROM subscriber ' +
  'WHERE active = 1 AND id > ? AND id <= ? ORDER BY id LIMIT ?';

const broker = await openBroker();
const channel = await broker.createConfirmChannel();
await declareQueue(channel);
const database = openDatabase(1);

let after = 0;
let confirmed = Promise.resolve();
for (;;) {
  const page = task.chunk * PAGE_CHUNKS;
  const [rows] = await database.query(SELECT, [after, task.recipients, page]);
  await confirmed; // the next page was read while the broker wrote this one
  if (rows.length === 0) break;
  for (let at = 0; at < rows.length; at += task.chunk) {
    const message = { run: task.run, recipients: rows.slice(at, at + task.chunk) };
    channel.sendToQueue(task.queue, Buffer.from(JSON.stringify(message)), {
      persistent: true,
      contentType: 'application/json',
    });
  }
  confirmed = channel.waitForConfirms();
  after = rows[rows.length - 1].id;
}

await database.end();
await channel.close();
await broker.close();
