"""The rehearsal: the real templates are deployed into an emulator of AWS, and the real program uses what they provision.

Belongs here: the emulator, what is put in place of what it lacks, the processes of ECS tasks, and the story of `make
rehearse`. Does not belong here: templates (infra.stacks), the program (xdask_pipelines).
"""
