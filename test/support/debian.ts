import { execFile } from 'node:child_process';
import { access } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Program → Debian package that brings it. */
const PACKAGES: Readonly<Record<string, string>> = {
  mosquitto: 'mosquitto',
  mosquitto_sub: 'mosquitto-clients',
  nginx: 'nginx-light',
  curl: 'curl',
  openssl: 'openssl',
  ip: 'iproute2',
  unshare: 'util-linux',
  casync: 'casync',
  socat: 'socat',
  aria2c: 'aria2',
  mktorrent: 'mktorrent',
  'udp-sender': 'udpcast',
  iperf3: 'iperf3',
  ethtool: 'ethtool',
  tc: 'iproute2',
  setpriv: 'util-linux',
  faketime: 'faketime',
  'softhsm2-util': 'softhsm2',
  'pkcs11-tool': 'opensc',
  script: 'bsdutils',
  zbarimg: 'zbar-tools',
};

async function missing(programs: readonly string[]): Promise<string[]> {
  const folders = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
  const absent: string[] = [];
  for (const program of programs) {
    const found = await Promise.any(folders.map((folder) => access(`${folder}/${program}`))).then(
      () => true,
      () => false,
    );
    if (!found) absent.push(program);
  }
  return absent;
}

/**
 * Makes sure that real peers are there, installing Debian's packages where we may.
 * @throws Error that names what is missing and the command that brings it
 */
export async function ensurePrograms(programs: readonly string[]): Promise<void> {
  const absent = await missing(programs);
  if (absent.length === 0) return;
  const packages = [...new Set(absent.map((program) => PACKAGES[program] ?? program))];
  const command = `apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  if (process.getuid?.() !== 0) {
    throw new Error(`Missing: ${absent.join(', ')}. The tests use these real peers and may not install them for you (not root). Run: sudo ${command}`);
  }
  process.stderr.write(`Installing Debian packages for the tests: ${packages.join(' ')}\n`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  try {
    await run('apt-get', ['update', '-qq'], { env, maxBuffer: 1 << 26 });
    await run('apt-get', command.split(' ').slice(1), { env, maxBuffer: 1 << 26 });
  } catch (error) {
    throw new Error(`Could not install ${packages.join(', ')}: run "${command}" by hand and read what it says`, { cause: error });
  }
  const still = await missing(programs);
  if (still.length > 0) throw new Error(`Still missing after installation: ${still.join(', ')}`);
}
