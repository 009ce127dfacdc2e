/* Has every vCPU take over new memory maps by itself; once, after the vCPUs are made. */
void repair_memory_maps(void);
