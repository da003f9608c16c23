import { signRelease } from '../../provider/publish/sign-release.ts';
import { publisher, publishRelease } from '../publish.ts';
import { bytesText } from '../units.ts';
import { readSignedRelease } from '../workspace.ts';
import { CUSTOMERS, type DemoDevice, type DemoRelease, entitled, GROUPS } from './cast.ts';
import { ProgressBoard } from './progress-board.ts';
import type { Stage } from './stage.ts';

/** Milliseconds after which something is wrong, whatever the machine. */
const ROLLOUT_TIMEOUT = 120_000;

/** Vendor's side: sign each package offline with its own release key, then upload what the provider lacks. */
export async function publishAll(stage: Stage, releases: readonly DemoRelease[]): Promise<void> {
  for (const { application, version, directory } of releases) {
    const keyFile = stage.home.releaseKey(application);
    const summary = await signRelease({ directory, application, version, keyFile, workspace: stage.home.workspace, signal: stage.signal });
    await stage.signed.add({ application, version, directory }, summary.manifest);
    const release = await readSignedRelease(stage.home.workspace, application, version);
    await publishRelease(publisher(stage.ops), release, { signal: stage.signal });
    stage.narrator.good(
      `${application} ${version}`.padEnd(20) +
        stage.narrator.colors.dim(
          ` ${summary.files} files, ${bytesText(summary.bytes)}, ${bytesText(summary.newBytes)} of it in ${summary.newChunks} new chunks`,
        ),
    );
  }
}

/** Makes releases current for the groups that are entitled to them. Transfer starts by itself. */
export async function makeCurrent(
  stage: Stage,
  releases: readonly DemoRelease[],
  only: { readonly customer?: string; readonly group?: string } = {},
): Promise<void> {
  for (const { customer } of CUSTOMERS) {
    for (const { group } of GROUPS) {
      if ((only.customer ?? customer) !== customer || (only.group ?? group) !== group) continue;
      for (const { application, version } of releases) {
        if (entitled(group).includes(application)) {
          await stage.ops.call('current.set', { customer, group, site: null, application, version, allowDowngrade: false });
        }
      }
    }
  }
}

/** Shows the progress of whatever is transferred and installed while `work` is done, and where the bytes came from when it is. */
export async function watching<T>(stage: Stage, work: () => Promise<T>): Promise<T> {
  const board = await ProgressBoard.open(stage.narrator, stage.view);
  let result: T;
  try {
    result = await work();
  } finally {
    board.close();
  }
  board.sumUp();
  return result;
}

/** Waits until these devices have confirmed what they shall run. */
export function confirmed(stage: Stage, devices: readonly DemoDevice[], releases: readonly DemoRelease[]): Promise<void> {
  return stage.view.confirmed(devices, versionsOf(releases), ROLLOUT_TIMEOUT);
}

export function versionsOf(releases: readonly DemoRelease[]): Map<string, string> {
  return new Map(releases.map(({ application, version }) => [application, version]));
}
