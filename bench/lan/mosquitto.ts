import path from 'node:path';
import { worker } from '../child.ts';
import { FILE } from '../content.ts';
import { PORT, prepareMosquitto } from '../mosquitto.ts';
import { addressOf } from './network.ts';
import type { Contestant } from './race.ts';

const PAYLOAD = 256 << 10;
const TOPIC = 'release';
/** Milliseconds until the broker listens, and until every device has subscribed. */
const SETTLE = 700;

/** MQTT with QoS 1 through mosquitto over mutual TLS: the broker sends every device a copy. */
export const mosquitto: Contestant = async (race) => {
  const { content, papers, devices } = race;
  const host = addressOf(0);
  const credentials = papers.of('gateway');
  race.start(0, await prepareMosquitto(path.join(race.folder(0), 'mosquitto'), credentials, host), path.join(race.folder(0), 'mosquitto.out'));
  await new Promise((resolve) => setTimeout(resolve, SETTLE));
  const messages = Math.ceil(content.size / PAYLOAD);
  const copies = devices.map((device) => path.join(race.folder(device), FILE));
  const subscribers = devices.map((device, index) => {
    const own = papers.of(`ct-${device}`);
    const trust = ['--cafile', `${own}/root.pem`, '--cert', `${own}/chain.pem`, '--key', `${own}/key.pem`];
    const command = ['mosquitto_sub', '-h', host, '-p', String(PORT), ...trust, '-q', '1', '-t', TOPIC, '-C', String(messages), '-N'];
    return race.start(device, command, copies[index]);
  });
  await new Promise((resolve) => setTimeout(resolve, SETTLE + 50 * devices.length));
  await race.go();
  race.start(0, worker('lan-publisher', { host, port: PORT, credentials, file: path.join(content.folder, FILE), payload: PAYLOAD, topic: TOPIC }));
  await Promise.all(subscribers.map((subscriber) => subscriber.succeeded()));
  return { copies };
};
