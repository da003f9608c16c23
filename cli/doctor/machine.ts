import { access, constants, readFile, statfs } from 'node:fs/promises';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import path from 'node:path';
import { systemCode, WardcastError } from '../../shared/base/errors.ts';
import { CLOCK_TOLERANCE, FREE_SPACE_RESERVE, WALL_AHEAD_MAX } from '../../shared/base/limits.ts';
import { silentLog } from '../../shared/base/log.ts';
import { readTrustedTime } from '../../shared/store/time-file.ts';
import { bytesText } from '../units.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

/** What can be wrong with the machine itself. */

/** Bytes below which a disk is called small: a few releases of the usual size. */
const SMALL_DISK = 2_000_000_000;

export async function disk(what: string, folder: string): Promise<Finding> {
  const existing = await nearestExisting(folder);
  try {
    await access(existing, constants.W_OK);
    const { bavail, bsize } = await statfs(existing);
    const free = bavail * bsize;
    if (free < FREE_SPACE_RESERVE) {
      throw new WardcastError('SPACE_SHORT', `${existing} has ${bytesText(free)} free; ${bytesText(FREE_SPACE_RESERVE)} are kept free always`, {
        remedy: 'Make room, or move the folder to a larger disk.',
      });
    }
    const text = `${folder}: ${bytesText(free)} free${existing === folder ? '' : `, to be made in ${existing}`}`;
    return free < SMALL_DISK ? warn(what, text, 'That is little: large releases may be refused with SPACE_SHORT.') : ok(what, text);
  } catch (error) {
    if (error instanceof WardcastError) return fail(what, error);
    return fail(
      what,
      new WardcastError('STORAGE_FAILED', `${existing} cannot be written: ${systemCode(error) ?? String(error)}`, {
        remedy: 'Give the account that runs the daemon write permission, or choose another folder.',
      }),
    );
  }
}

async function nearestExisting(folder: string): Promise<string> {
  for (let at = path.resolve(folder); ; at = path.dirname(at)) {
    try {
      await access(at);
      return at;
    } catch {
      if (at === path.dirname(at)) return at;
    }
  }
}

/** The address that the daemon listens on and advertises from has to be one of ours, on an interface that can multicast. */
export function lanInterface(host: string, mdns: string): Finding {
  if (isIP(host) === 0)
    return warn('lan', `${host} is a name, and mDNS needs the address of one interface`, 'Write the LAN address itself as lan.host, or as lan.interface.');
  const interfaces = networkInterfaces();
  const named = Object.entries(interfaces).find(([, addresses]) => addresses?.some(({ address }) => address === mdns));
  if (named === undefined) {
    if (mdns.startsWith('127.')) return ok('lan', `${mdns} is the loopback interface: only this machine finds the daemon`);
    const known = Object.entries(interfaces).flatMap(([name, addresses]) => (addresses ?? []).map(({ address }) => `${address} (${name})`));
    return fail(
      'lan',
      new WardcastError('CONFIG_INVALID', `No interface of this machine has the address ${mdns}`, { remedy: `Choose one of ${known.join(', ')}.` }),
    );
  }
  if (mdns.startsWith('127.')) return ok('lan', `${mdns} is the loopback interface: only this machine finds the daemon`);
  return ok('lan', `${mdns} on ${named[0]}: adverts and queries go out there and nowhere else`);
}

/** Seconds that a clock may be off before certificates and people are confused. */
const CLOCK_EARLIEST = Date.UTC(2025, 0, 1);
const CLOCK_LATEST = Date.UTC(2060, 0, 1);

/** A clock that is plainly wrong; one that is a little off shows when the provider is asked. */
export function clock(now: number): Finding {
  const text = new Date(now).toISOString();
  if (now < CLOCK_EARLIEST) {
    return fail(
      'clock',
      new WardcastError('CERT_NOT_YET_VALID', `This machine believes it is ${text}: certificates will seem not to be valid yet`, {
        remedy: 'Set the clock, and switch on time synchronisation (timedatectl set-ntp true).',
      }),
    );
  }
  if (now > CLOCK_LATEST) {
    return fail(
      'clock',
      new WardcastError('CERT_EXPIRED', `This machine believes it is ${text}: certificates will seem to have expired`, {
        remedy: 'Set the clock, and switch on time synchronisation (timedatectl set-ntp true).',
      }),
    );
  }
  return ok('clock', text);
}

/** What an agent or gateway knows of the time from signatures, beside what this machine believes. */
export async function trustedTime(data: string, now: number): Promise<Finding> {
  const known = await readTrustedTime(data, silentLog);
  if (known === undefined) return ok('time', 'Nothing is known yet: the daemon asks the provider when it is connected');
  const bound = new Date(known).toISOString();
  if (now >= known - CLOCK_TOLERANCE && now - known <= WALL_AHEAD_MAX) return ok('time', `${bound} or later, by signatures`);
  return warn(
    'time',
    `The clock says ${new Date(now).toISOString()}, and signatures show that it is ${bound} or later`,
    'Wardcast goes by the signatures; set the clock, so that logs and other software are right too.',
  );
}

/** The signed root a daemon starts to trust from. */
export async function factoryRoot(file: string): Promise<Finding> {
  try {
    const { inspectMetadata } = await import('../../shared/trust/inspect.ts');
    const root = inspectMetadata('root', await readFile(file));
    return ok('root', `${file}: version ${root.version}`);
  } catch (error) {
    if (error instanceof WardcastError) return fail('root', error);
    return fail(
      'root',
      new WardcastError('METADATA_MISSING', `${file} cannot be read: ${systemCode(error) ?? String(error)}`, {
        remedy: 'Copy metadata/1.root.json of the key ceremony there.',
      }),
    );
  }
}
