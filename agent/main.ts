import { systemClock } from '../shared/base/clock.ts';
import { runDaemon } from '../shared/base/daemon.ts';
import { AgentConfig } from './config.ts';
import { startEnrolled } from './enrol/first.ts';

await runDaemon('agent', AgentConfig, ({ config, version, log }) => startEnrolled({ config, version, clock: systemClock, log }));
