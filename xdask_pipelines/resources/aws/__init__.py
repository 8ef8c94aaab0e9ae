"""AWS as the profile aws uses it: clients, ECS tasks, DNS records, metrics. Imported only where the profile is aws."""
