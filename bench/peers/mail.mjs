// What both programs of the peer share: their task, the broker, the database, and the mail.
import { readFileSync } from 'node:fs';
import amqp from 'amqplib';
import mysql from 'mysql2/promise';

// The task is one JSON argument; passwords come from the environment.
export const task = JSON.parse(process.argv[2]);

export async function openBroker() {
  const { MAILFLOCK_BROKER_PASSWORD: password } = process.env;
  const connection = await amqp.connect({ ...task.broker, password });
  // Where the broker ends the connection or the channel, nothing is left to do.
  connection.on('error', (error) => { throw error; });
  return connection;
}

// A quorum queue, as Mailflock's.
export async function declareQueue(channel) {
  await channel.assertQueue(task.queue, {
    durable: true,
    arguments: { 'x-queue-type': 'quorum' },
  });
}

export function openDatabase(connections) {
  const { MAILFLOCK_DATABASE_PASSWORD: password } = process.env;
  return mysql.createPool({
    ...task.database,
    password,
    charset: 'utf8mb4',
    timezone: 'Z',
    connectionLimit: connections,
  });
}

// Compiles a template with {{variables}} to a function: the texts between them are cut out once.
function compile(text) {
  const parts = text.split(/\{\{(\w+)\}\}/);
  return (vars) => {
    let out = parts[0];
    for (let i = 1; i < parts.length; i += 2) out += vars[parts[i]] + parts[i + 1];
    return out;
  };
}

// Returns a function that makes of a recipient what nodemailer sends.
export function compileMail(content) {
  const toName = compile(content.to_name);
  const subject = compile(content.subject);
  const unsubscribe = compile(content.list_unsubscribe);
  const text = compile(readFileSync(content.text, 'utf8'));
  return (recipient) => ({
    from: content.from,
    to: { name: toName(recipient), address: recipient.email },
    subject: subject(recipient),
    text: text(recipient),
    headers: {
      'List-Unsubscribe': `<${unsubscribe(recipient)}>`,
      'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click',
    },
  });
}
