import path from 'node:path';
import { FILE } from '../content.ts';
import { download, startNginx } from '../nginx.ts';
import { addressOf } from './network.ts';
import type { Contestant } from './race.ts';

const PORT = 8443;

/** https from nginx, and curl on every device: each fetches the whole file from the gateway and verifies nothing. */
export const nginx: Contestant = async (race) => {
  const { content, papers, devices, signal } = race;
  const credentials = papers.of('gateway');
  const server = await startNginx({
    directory: race.folder(0),
    root: content.folder,
    credentials,
    host: addressOf(0),
    port: PORT,
    on: (command) => race.on(0, command),
  });
  race.atEnd(() => server.stop());
  const copies = devices.map((host) => path.join(race.folder(host), FILE));
  await race.go();
  const url = `https://${addressOf(0)}:${PORT}/${FILE}`;
  const root = path.join(credentials, 'root.pem');
  await Promise.all(devices.map((host, index) => download(url, { root, out: copies[index] ?? '', signal, on: (command) => race.on(host, command) })));
  return { copies };
};
