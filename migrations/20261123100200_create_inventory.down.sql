DROP TABLE containers, pods, container_images, image_registries, nodes, projects, providers;
