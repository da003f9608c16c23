import { execFile } from 'node:child_process';
import { access, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { worker } from '../child.ts';
import { FILE } from '../content.ts';
import { addressOf } from './network.ts';
import type { Contestant, Race } from './race.ts';

const run = promisify(execFile);
const PORT = 6969;
/** Milliseconds after the seed has verified its file, listens and announced itself. */
const SETTLE = 500;
const LARGE = 64 << 20;

/** BitTorrent without encryption, with a tracker and local peer discovery. The seed is up before the clock starts, the devices' processes are not. */
export const aria2: Contestant = async (race) => {
  const { content, devices } = race;
  const torrent = path.join(race.folder(0), 'release.torrent');
  const piece = content.size >= LARGE ? 18 : 16;
  await run('mktorrent', ['-l', String(piece), '-a', `http://${addressOf(0)}:${PORT}/announce`, '-o', torrent, path.join(content.folder, FILE)]);
  const tracker = race.start(0, worker('lan-tracker', { host: addressOf(0), port: PORT }));
  await tracker.line();
  race.start(0, aria2c(0, torrent, content.folder, ['--check-integrity=true']), path.join(race.folder(0), 'aria2.out'));
  await tracker.line();
  const done = path.join(race.folder(0), 'done.sh');
  // It runs in the folder of the device.
  await writeFile(done, '#!/bin/sh\n: > complete\n', { mode: 0o755 });
  await new Promise((resolve) => setTimeout(resolve, SETTLE));
  await race.go();
  await Promise.all(
    devices.map(async (host) => {
      const folder = race.folder(host);
      race.start(host, aria2c(host, torrent, folder, [`--on-bt-download-complete=${done}`]), `${folder}/aria2.out`);
      await appears(race, path.join(folder, 'complete'));
    }),
  );
  return { copies: devices.map((host) => path.join(race.folder(host), FILE)) };
};

/** No limit on peers or rates; it keeps serving when it has everything. */
function aria2c(host: number, torrent: string, folder: string, more: readonly string[]): string[] {
  const settings = {
    dir: folder,
    interface: addressOf(host),
    'listen-port': 6881,
    'enable-dht': false,
    'enable-dht6': false,
    'disable-ipv6': true,
    'bt-enable-lpd': true,
    'bt-tracker-interval': 1,
    'bt-max-peers': 0,
    'bt-request-peer-speed-limit': '1000M',
    'max-overall-upload-limit': 0,
    'seed-ratio': 0,
    'file-allocation': 'none',
    'summary-interval': 0,
  };
  return ['aria2c', '--no-conf', ...Object.entries(settings).map(([name, value]) => `--${name}=${value}`), ...more, torrent];
}

async function appears({ signal }: Race, file: string): Promise<void> {
  for (let there = false; !there; ) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    signal.throwIfAborted();
    there = await access(file).then(
      () => true,
      () => false,
    );
  }
}
