import { systemClock } from '../shared/base/clock.ts';
import { runDaemon } from '../shared/base/daemon.ts';
import { startAgent } from './agent.ts';
import { AgentConfig } from './config.ts';

await runDaemon('agent', AgentConfig, ({ config, version, log }) => startAgent({ config, version, clock: systemClock, log }));
