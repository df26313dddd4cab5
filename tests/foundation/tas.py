def spec(**_options):
    return {}
