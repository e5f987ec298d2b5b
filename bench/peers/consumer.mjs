// Takes chunks, sends their mails through a pool of connections, records the outcomes of a chunk in
// one multi-row INSERT, and acks. Prints ready, then done=N for each chunk. SIGTERM ends it.
import nodemailer from 'nodemailer';
import { compileMail, declareQueue, openBroker, openDatabase, task } from './mail.mjs';

const INSERT =
  'INSERT IGNORE INTO outcome (run, recipient_id, email, status, code, detail, message_id, at) VALUES ?';

const mail = compileMail(task.content);
const database = openDatabase(2);
const transport = nodemailer.createTransport({
  host: task.relay.host,
  port: task.relay.port,
  ignoreTLS: true,
  pool: true,
  maxConnections: task.relay.connections,
  maxMessages: Infinity,
  disableFileAccess: true,
  disableUrlAccess: true,
});

async function send(run, recipient) {
  try {
    const sent = await transport.sendMail(mail(recipient));
    return row(run, recipient, 'sent', Number(sent.response.slice(0, 3)), sent.response, sent.messageId);
  } catch (error) {
    const code = error.responseCode ?? 0;
    const status = code >= 500 ? 'failed' : 'deferred';
    return row(run, recipient, status, code, error.message, '');
  }
}

function row(run, recipient, status, code, detail, messageId) {
  const { id, email } = recipient;
  return [run, id, email, status, code, detail.slice(0, 255), messageId, new Date()];
}

async function take(message) {
  const { run, recipients } = JSON.parse(message.content.toString());
  const rows = await Promise.all(recipients.map((recipient) => send(run, recipient)));
  await database.query(INSERT, [rows]);
  channel.ack(message);
  process.stdout.write(`done=${rows.length}\n`);
}

const broker = await openBroker();
const channel = await broker.createChannel();
await declareQueue(channel);
await channel.prefetch(task.prefetch);
await database.query('SELECT 1');
const { consumerTag } = await channel.consume(task.queue, take);
process.stdout.write('ready\n');

process.once('SIGTERM', async () => {
  await channel.cancel(consumerTag);
  await channel.close();
  await broker.close();
  await database.end();
  transport.close();
});
